package cni

import (
	"cmp"
	"encoding/json"
	"errors"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api/cni/version"
	"github.com/catenet/catenet/api/pipe"
)

// Codes of errors: up to 99 those of the specification, from 100 our own.
const (
	codeVersion     = 1
	codeField       = 2
	codeEnvironment = 4
	codeDecode      = 6
	codeConfig      = 7
	codeLater       = 11
	codeNotReady    = 50
	codeConflict    = 100
	codeNotFound    = 101
	codeForbidden   = 102
	codeUnsupported = 103
	codeExhausted   = 104
	codeInternal    = 999
)

// codedError is an error whose code is not that of its kind.
type codedError struct {
	code int
	error
}

func (e codedError) Unwrap() error { return e.error }

func coded(code int, err error) error { return codedError{code, err} }

// codeOf is the code that a runtime is told.
func codeOf(err error) int {
	if e, ok := errors.AsType[codedError](err); ok {
		return e.code
	}
	switch catenet.KindOf(err) {
	case catenet.KindInvalid:
		return codeConfig
	case catenet.KindNotFound:
		return codeNotFound
	case catenet.KindConflict:
		return codeConflict
	case catenet.KindForbidden:
		return codeForbidden
	case catenet.KindUnsupported:
		return codeUnsupported
	case catenet.KindExhausted:
		return codeExhausted
	case catenet.KindUnavailable:
		return codeLater
	}
	return codeInternal
}

// failure is an error as the plugin prints it, on standard output.
func failure(spoken string, err error) pipe.Answer {
	var e *catenet.Error
	hint := ""
	if errors.As(err, &e) {
		hint = catenet.HintOf(e)
	}
	b, merr := json.Marshal(struct {
		CNIVersion string `json:"cniVersion,omitempty"`
		Code       int    `json:"code"`
		Msg        string `json:"msg"`
		Details    string `json:"details,omitempty"`
	}{cmp.Or(spoken, version.Newest), codeOf(err), "catenet: " + err.Error(), hint})
	if merr != nil {
		b = []byte(`{"code":999,"msg":"catenet: an error that cannot be written"}`)
	}
	return pipe.Answer{Stdout: append(b, '\n'), Exit: 1}
}
