package etcdserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Certs are files (PEM) of a CA made for one test, and what it has signed.
type Certs struct {
	CA                    string
	ServerCert, ServerKey string // for 127.0.0.1
	ClientCert, ClientKey string

	t      testing.TB
	folder string
	ca     *x509.Certificate
	key    *ecdsa.PrivateKey
}

// NewCerts makes a CA, and certificates of a server and of a client.
func NewCerts(t testing.TB) *Certs {
	c := &Certs{t: t, folder: t.TempDir()}
	c.CA, _ = c.make("ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	c.ServerCert, c.ServerKey = c.make("server", &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	c.ClientCert, c.ClientKey = c.make("client", &x509.Certificate{})
	return c
}

// make signs a certificate, by itself if it is the first, and returns its files.
func (c *Certs) make(name string, cert *x509.Certificate) (certFile, keyFile string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		c.t.Fatal(err)
	}
	cert.SerialNumber = big.NewInt(time.Now().UnixNano())
	cert.Subject = pkix.Name{CommonName: name}
	cert.NotBefore, cert.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	cert.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	if c.ca == nil {
		c.ca, c.key = cert, key
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, c.ca, &key.PublicKey, c.key)
	if err != nil {
		c.t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		c.t.Fatal(err)
	}
	return c.write(name+".crt", "CERTIFICATE", der), c.write(name+".key", "EC PRIVATE KEY", private)
}

func (c *Certs) write(name, kind string, der []byte) string {
	path := filepath.Join(c.folder, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return path
}
