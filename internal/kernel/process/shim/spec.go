package shim

import (
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/catenet/catenet/internal/kernel/proc"
)

// Spec says what is to run and in what: kernel.Container and kernel.Exec in
// the shim's words.
type Spec struct {
	Netns    string // path; "" is the host's own
	Hostname string // with HostUTS, of no meaning
	HostUTS  bool
	Rootfs   string // "" is the host's file system
	WorkDir  string // "" is /
	Args     []string
	Env      []string // KEY=VALUE; of equal keys the last counts
	Files    []Bind
	Hide     []string
	Inside   proc.Identity // exec only: the process whose namespaces to enter
}

// Bind puts the file Source of the host at Target inside.
type Bind struct {
	Target, Source string
}

// On the wire a Spec is a list of strings, each ended by a zero byte, in
// pairs of a key and a value: no string of it can have a zero byte, neither
// in a path nor in an argument (execve(2)). The last pair says that none is
// missing.
const (
	keyNetns    = "netns"
	keyHostname = "hostname"
	keyHostUTS  = "host-uts"
	keyRootfs   = "rootfs"
	keyWorkDir  = "workdir"
	keyArg      = "arg"
	keyEnv      = "env"
	keyTarget   = "target"
	keySource   = "source" // of the target before it
	keyHide     = "hide"
	keyPID      = "pid"
	keyStart    = "start"
	keyEnd      = "end"
)

// Encode returns the spec as bytes, or a Failure if a string has a zero byte.
func (s *Spec) Encode() ([]byte, error) {
	var b []byte
	var bad error
	put := func(key string, values ...string) {
		for _, v := range values {
			if strings.IndexByte(v, 0) >= 0 {
				bad = &Failure{Kind: Invalid, Msg: "the " + key + " " + strconv.Quote(v) + " has a zero byte in it"}
			}
			b = append(append(append(append(b, key...), 0), v...), 0)
		}
	}
	put(keyNetns, s.Netns)
	put(keyHostname, s.Hostname)
	if s.HostUTS {
		put(keyHostUTS, "")
	}
	put(keyRootfs, s.Rootfs)
	put(keyWorkDir, s.WorkDir)
	put(keyArg, s.Args...)
	put(keyEnv, s.Env...)
	for _, f := range s.Files {
		put(keyTarget, f.Target)
		put(keySource, f.Source)
	}
	put(keyHide, s.Hide...)
	put(keyPID, strconv.Itoa(s.Inside.PID))
	put(keyStart, strconv.FormatUint(s.Inside.Start, 10))
	put(keyEnd, "")
	return b, bad
}

// ReadSpec reads a spec until r ends.
func ReadSpec(r io.Reader) (*Spec, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	words := strings.Split(string(b), "\x00")
	if len(words) < 3 || words[len(words)-3] != keyEnd || len(words)%2 == 0 {
		return nil, errors.New("the spec is cut off")
	}
	s := new(Spec)
	for i := 0; i < len(words)-3; i += 2 {
		if err := s.set(words[i], words[i+1]); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *Spec) set(key, value string) (err error) {
	switch key {
	case keyNetns:
		s.Netns = value
	case keyHostname:
		s.Hostname = value
	case keyHostUTS:
		s.HostUTS = true
	case keyRootfs:
		s.Rootfs = value
	case keyWorkDir:
		s.WorkDir = value
	case keyArg:
		s.Args = append(s.Args, value)
	case keyEnv:
		s.Env = append(s.Env, value)
	case keyTarget:
		s.Files = append(s.Files, Bind{Target: value})
	case keySource:
		if len(s.Files) == 0 {
			return errors.New("the spec has a source without a target")
		}
		s.Files[len(s.Files)-1].Source = value
	case keyHide:
		s.Hide = append(s.Hide, value)
	case keyPID:
		s.Inside.PID, err = strconv.Atoi(value)
	case keyStart:
		s.Inside.Start, err = strconv.ParseUint(value, 10, 64)
	default:
		err = errors.New("the spec has an unknown key " + key)
	}
	return err
}
