package api

import (
	"encoding/binary"
	"fmt"
	"io"
)

// ExecProtocol is what an exec request upgrades its connection to:
//
//	frame = stream (1 byte) length (4 bytes, big endian) payload (length bytes)
//
// The client sends Stdin frames, an empty one for the end of its input, and
// never more bytes than its window: Window at first, then what WindowUpdate
// frames add. So the server can always read, and sees at once when the client
// goes away. The server sends Stdout, Stderr and WindowUpdate frames, and at
// the end one Exit or one Failure.
const ExecProtocol = "catenet-exec"

// The streams of frames.
const (
	FrameStdin        byte = iota
	FrameStdout            // payload: output
	FrameStderr            // payload: output
	FrameWindowUpdate      // payload: how many more bytes of Stdin may come, 4 bytes
	FrameExit              // payload: exit code, 4 bytes
	FrameFailure           // payload: an Error in JSON
)

// MaxFrame is the largest payload of a frame, in bytes.
const MaxFrame = 32 << 10

// Window is how many bytes of Stdin a client may send before it is told that
// some were read.
const Window = 256 << 10

const frameHeader = 5

// WriteFrame writes one frame by a single call of Write. The payload may not
// be longer than MaxFrame.
func WriteFrame(w io.Writer, stream byte, payload []byte) error {
	if len(payload) > MaxFrame {
		return fmt.Errorf("write frame: %d bytes, the most is %d", len(payload), MaxFrame)
	}
	b := make([]byte, frameHeader, frameHeader+len(payload))
	b[0] = stream
	binary.BigEndian.PutUint32(b[1:], uint32(len(payload)))
	_, err := w.Write(append(b, payload...))
	return err
}

// WriteNumber writes a frame whose payload is one number.
func WriteNumber(w io.Writer, stream byte, n int) error {
	return WriteFrame(w, stream, binary.BigEndian.AppendUint32(nil, uint32(int32(n))))
}

// Number reads the payload of such a frame.
func Number(payload []byte) (int, error) {
	if len(payload) != 4 {
		return 0, fmt.Errorf("read frame: a number of %d bytes, not 4", len(payload))
	}
	return int(int32(binary.BigEndian.Uint32(payload))), nil
}

// ReadFrame reads one frame into buf, growing it as needed, and returns the
// payload, which lives in buf until the next call. io.EOF means that the
// stream ended between two frames.
func ReadFrame(r io.Reader, buf []byte) (stream byte, payload []byte, err error) {
	var h [frameHeader]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(h[1:])
	if h[0] > FrameFailure {
		return 0, nil, fmt.Errorf("read frame: unknown stream %d", h[0])
	}
	if n > MaxFrame {
		return 0, nil, fmt.Errorf("read frame: %d bytes, the most is %d", n, MaxFrame)
	}
	if cap(buf) < int(n) {
		buf = make([]byte, n)
	}
	if _, err := io.ReadFull(r, buf[:n]); err != nil {
		return 0, nil, io.ErrUnexpectedEOF
	}
	return h[0], buf[:n], nil
}
