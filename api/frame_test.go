package api

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

func TestFrames(t *testing.T) {
	var b bytes.Buffer
	if err := WriteFrame(&b, FrameStdout, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := WriteNumber(&b, FrameExit, -1); err != nil {
		t.Fatal(err)
	}
	if want := "\x01\x00\x00\x00\x05hello\x04\x00\x00\x00\x04\xff\xff\xff\xff"; b.String() != want {
		t.Fatalf("on the wire: %q, want %q", &b, want)
	}
	if id, p, err := ReadFrame(&b, nil); id != FrameStdout || string(p) != "hello" || err != nil {
		t.Errorf("read %d %q %v", id, p, err)
	}
	id, p, err := ReadFrame(&b, make([]byte, 1))
	if n, nerr := Number(p); id != FrameExit || n != -1 || err != nil || nerr != nil {
		t.Errorf("read %d %q %v", id, p, err)
	}
	if _, _, err := ReadFrame(&b, nil); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
	if err := WriteFrame(io.Discard, FrameStdin, make([]byte, MaxFrame+1)); err == nil {
		t.Error("a frame that is too large was written")
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x00\x05hello"))
	f.Add([]byte("\x04\x00\x00\x00\x04\x00\x00\x00\x01"))
	f.Add([]byte("\x00\xff\xff\xff\xff"))
	f.Add([]byte("\x09\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		var out bytes.Buffer
		var buf []byte
		for {
			id, p, err := ReadFrame(r, buf)
			if err != nil {
				break
			}
			if len(p) > MaxFrame || id > FrameFailure {
				t.Fatalf("stream %d, %d bytes", id, len(p))
			}
			if err := WriteFrame(&out, id, p); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.HasPrefix(in, out.Bytes()) {
			t.Fatalf("%q came back as %q", in, &out)
		}
	})
}
