package pipe

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Saved ends the names of files that Save has written whole.
const Saved = ".call"

// Spool is the folder of calls that were written down for the daemon at host,
// as Socket reads it: beside its socket.
func Spool(host string) string { return filepath.Join(filepath.Dir(Socket(host)), "calls") }

// SendOrSave is Send for a call that must not be lost: where Send fails, the call
// is written down for the daemon, which carries it out when it starts and before
// any later call, and the answer is an empty one. What is refused is not written
// down.
func SendOrSave(host string, c Call) (Answer, error) { return sendOrSave(host, c, patience) }

func sendOrSave(host string, c Call, limit time.Duration) (Answer, error) {
	a, err := send(host, c, limit)
	if err == nil || errors.Is(err, ErrRefused) {
		return a, err
	}
	slow := errors.Is(err, errSlow)
	path, err := c.Save(Spool(host))
	if err != nil || slow {
		return Answer{}, err
	}
	// Once more: a daemon that has started meanwhile may not look for long.
	if a, err = send(host, c, limit); err != nil {
		return Answer{}, nil //nolint:nilerr // it is in good hands
	}
	if err = os.Remove(path); errors.Is(err, fs.ErrNotExist) { // it did look
		err = nil
	}
	return a, err
}

// Save writes a call down in a folder, which is made if need be, as the request
// that it is; it returns the file's path. It is not synced: what calls are about
// does not outlive the machine.
func (c Call) Save(dir string) (string, error) {
	// The folder above is the daemon's: as that makes it, who may call it gets by.
	err := os.MkdirAll(filepath.Dir(dir), 0o711)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return "", errors.New("write down the call: " + err.Error())
	}
	f, err := os.CreateTemp(dir, "*.part")
	if err != nil {
		return "", errors.New("write down the call: " + err.Error())
	}
	path := f.Name()[:len(f.Name())-len(filepath.Ext(f.Name()))] + Saved
	_, err = f.Write(c.request())
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return "", errors.Join(errors.New("write down the call: "+err.Error()), os.Remove(f.Name()))
	}
	return path, nil
}
