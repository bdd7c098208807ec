package server_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/catenet/catenet/api/apitest"
	"github.com/catenet/catenet/api/server"
	"github.com/catenet/catenet/test/bounds"
)

// FuzzRequest: whatever is asked in whichever of the two APIs, the answer is
// no failure of the server's own.
func FuzzRequest(f *testing.F) {
	f.Add("POST", "/v1/networks", `{"name":"n","pools":[{"subnet":"10.0.0.0/24"}],"labels":{"a":"b"}}`)
	f.Add("POST", "/v1/networks/bridge/connect", `{"sandbox":"a","endpoint":{"ipv4":"10.0.0.9","aliases":["x"]}}`)
	f.Add("POST", "/v1/sandboxes", `{"name":"c","owner":"attach","netns":"/run/netns/x","networks":[{"network":"bridge"}],"ports":[{"port":80}]}`)
	f.Add("POST", "/networks/create", `{"Name":"n","IPAM":{"Config":[{"Subnet":"10.0.0.0/24","IPRange":"10.0.0.128/25"}]},"Options":{"x":"y"}}`)
	f.Add("POST", "/v1.44/networks/bridge/connect", `{"Container":"a","EndpointConfig":{"IPAMConfig":{"IPv4Address":"10.0.0.9"},"MacAddress":"02:42:ac:11:00:02"}}`)
	f.Add("GET", `/v1.44/networks?filters={"name":{"a":true}}`, "")
	f.Add("GET", "/events?since=1767225600.5&until=1", "")
	f.Add("POST", "/networks/prune", `[[[[`)
	f.Fuzz(func(t *testing.T, method, url, body string) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, method, "http://x"+url, strings.NewReader(body))
		if err != nil {
			return
		}
		req.Header.Set("Content-Type", "application/json")
		s := server.New(apitest.New(), slog.New(slog.DiscardHandler))
		bounds.Parse(t, len(url)+len(body), func() {
			w := patient{httptest.NewRecorder()}
			s.Handler().ServeHTTP(w, req)
			if w.Code == http.StatusInternalServerError {
				t.Errorf("%s %s %q: %s", method, url, body, w.Body)
			}
		})
	})
}

// patient is a reply whose request may be waited for.
type patient struct{ *httptest.ResponseRecorder }

func (patient) SetReadDeadline(time.Time) error  { return nil }
func (patient) SetWriteDeadline(time.Time) error { return nil }
