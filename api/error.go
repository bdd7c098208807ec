package api

import (
	"net/http"

	"github.com/catenet/catenet"
)

// Error is the body of every reply that is no success.
type Error struct {
	Kind    string `json:"kind"` // as catenet.Kind spells it
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"` // the next step, where there is one
}

// NewError makes the wire's form of err.
func NewError(err error) *Error {
	return &Error{Kind: catenet.KindOf(err).String(), Message: err.Error(), Hint: catenet.HintOf(err)}
}

// Err turns it back into the vocabulary's error.
func (e *Error) Err() error {
	return &catenet.Error{Kind: catenet.KindFromString(e.Kind), Msg: e.Message, Hint: e.Hint}
}

// Status returns the HTTP status of a kind of failure. Beside these the server
// itself answers 405, 413 and 415, all of kind invalid. An exhausted pool is a
// clash with what exists, like a taken address, and shares its status: the
// kind in the body tells them apart.
func Status(k catenet.Kind) int {
	switch k {
	case catenet.KindInvalid:
		return http.StatusBadRequest
	case catenet.KindNotFound:
		return http.StatusNotFound
	case catenet.KindConflict, catenet.KindExhausted:
		return http.StatusConflict
	case catenet.KindForbidden:
		return http.StatusForbidden
	case catenet.KindUnsupported:
		return http.StatusNotImplemented
	case catenet.KindUnavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}
