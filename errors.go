package catenet

import (
	"errors"
	"fmt"
)

// Kind tells what sort of failure an error is, so that a caller can decide
// and an API can choose a status without reading the message.
type Kind int

// The kinds of failure. Anything that is none of these is KindInternal.
const (
	KindInternal    Kind = iota // we failed: a bug, or the machine did
	KindInvalid                 // the request is wrong in itself: mend it and ask again
	KindNotFound                // what the request names does not exist
	KindConflict                // the request clashes with what exists (a name, an address, a port)
	KindForbidden               // the request is understood and refused (a predefined network, one in use)
	KindUnsupported             // this kernel or this build lacks what the request needs
	KindExhausted               // nothing left to hand out (addresses, ports)
	KindUnavailable             // cannot be done now; the same request may succeed later
)

// String returns the kind as the API spells it.
func (k Kind) String() string {
	switch k {
	case KindInvalid:
		return "invalid"
	case KindNotFound:
		return "not_found"
	case KindConflict:
		return "conflict"
	case KindForbidden:
		return "forbidden"
	case KindUnsupported:
		return "unsupported"
	case KindExhausted:
		return "exhausted"
	case KindUnavailable:
		return "unavailable"
	}
	return "internal"
}

// KindFromString is the inverse of Kind.String; an unknown word is
// KindInternal.
func KindFromString(s string) Kind {
	for k := KindInvalid; k <= KindUnavailable; k++ {
		if k.String() == s {
			return k
		}
	}
	return KindInternal
}

// Error is a failure that a person will read: what is wrong, and where there
// is one, the next step that would mend it.
type Error struct {
	Kind Kind
	Msg  string // what is wrong, in one sentence without a capital or a full stop
	Hint string // what would be right, or what to do next; may be empty
	Err  error  // the cause; may be nil
}

// Error returns the message, which already tells the cause. The hint is kept
// apart, for those who show it on a line of its own.
func (e *Error) Error() string { return e.Msg }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// WithHint sets the next step and returns e.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// Errorf makes an Error of the given kind; a %w verb sets its cause.
func Errorf(kind Kind, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: kind, Msg: err.Error(), Err: errors.Unwrap(err)}
}

// Invalidf makes an Error of KindInvalid.
func Invalidf(format string, args ...any) *Error { return Errorf(KindInvalid, format, args...) }

// NotFoundf makes an Error of KindNotFound.
func NotFoundf(format string, args ...any) *Error { return Errorf(KindNotFound, format, args...) }

// Conflictf makes an Error of KindConflict.
func Conflictf(format string, args ...any) *Error { return Errorf(KindConflict, format, args...) }

// Forbiddenf makes an Error of KindForbidden.
func Forbiddenf(format string, args ...any) *Error { return Errorf(KindForbidden, format, args...) }

// Unsupportedf makes an Error of KindUnsupported.
func Unsupportedf(format string, args ...any) *Error {
	return Errorf(KindUnsupported, format, args...)
}

// KindOf returns the kind of the first Error in err's chain, or KindInternal.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return KindInternal
}

// HintOf returns the first hint that is set in err's chain, or "".
func HintOf(err error) string {
	for err != nil {
		e, ok := errors.AsType[*Error](err)
		if !ok {
			return ""
		}
		if e.Hint != "" {
			return e.Hint
		}
		err = e.Err
	}
	return ""
}

// IsNotFound reports whether err says that something does not exist.
func IsNotFound(err error) bool { return err != nil && KindOf(err) == KindNotFound }

// IsConflict reports whether err says that something clashes with what exists.
func IsConflict(err error) bool { return err != nil && KindOf(err) == KindConflict }

// IsInvalid reports whether err says that the request is wrong in itself.
func IsInvalid(err error) bool { return err != nil && KindOf(err) == KindInvalid }

// IsUnsupported reports whether err says that a needed feature is missing.
func IsUnsupported(err error) bool { return err != nil && KindOf(err) == KindUnsupported }
