package client

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/etcd"
)

// kind tells refusals from absence: whatever is no refusal may go better later.
func kind(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return catenet.Errorf(catenet.KindUnavailable, "etcd does not answer: %w", err)
	}
	err = rpctypes.Error(err)
	word, code := status.Convert(err).Message(), status.Code(err)
	if e, ok := errors.AsType[rpctypes.EtcdError](err); ok {
		word, code = e.Error(), e.Code()
	}
	word = strings.TrimPrefix(word, "etcdserver: ")
	if quoted, ok := strings.CutPrefix(word, "connection error: desc = "); ok {
		if plain, err := strconv.Unquote(quoted); err == nil {
			word = strings.TrimPrefix(plain, "transport: ")
		}
	}
	switch {
	case errors.Is(err, rpctypes.ErrAuthFailed):
		return catenet.Forbiddenf("%w: there is none of that name, or he has another password", etcd.ErrUser)
	case errors.Is(err, rpctypes.ErrUserEmpty), code == codes.Unauthenticated:
		return catenet.Forbiddenf("%w: one is asked for, and his password: %s", etcd.ErrUser, word)
	case code == codes.PermissionDenied:
		return catenet.Forbiddenf("%w may not do that: %s", etcd.ErrUser, word)
	case code == codes.DeadlineExceeded, code == codes.Canceled:
		return catenet.Errorf(catenet.KindUnavailable, "etcd does not answer: %s", word)
	case strings.Contains(word, "x509: "): // by the wire's library these are words alone
		return catenet.Errorf(catenet.KindUnavailable, "%w: %s", etcd.ErrCA, word)
	case strings.Contains(word, "remote error: tls: "):
		return catenet.Errorf(catenet.KindUnavailable, "%w: %s", etcd.ErrCert, word)
	}
	return catenet.Errorf(catenet.KindUnavailable, "etcd cannot be asked now: %s", word)
}
