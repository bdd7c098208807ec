package main

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestValue(t *testing.T) {
	for text, want := range map[string]string{
		`{"cniVersion":"1.0.0"}`:                     "1.0.0",
		"{\"a\":{}, \"cniVersion\"\n :\t\"0.4.0\" }": "0.4.0",
		`{"x":"cniVersion","cniVersion":"1.1.0"}`:    "1.1.0",
		`{"cniVersion":7}`:                           "",
		`{"cniVersion":"a\"b"}`:                      "",
		`{"cniVersion":"`:                            "",
		``:                                           "",
		`{"name":"cniVersion"}`:                      "",
		`{"cniVersion":null,"y":{"cniVersion":"0.3.1"}}`:  "0.3.1",
		`{"cniVersions":["1.1.0"],"cniVersion" : "1.0.0"`: "1.0.0",
	} {
		if got := value([]byte(text), "cniVersion"); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

// An error can be read as JSON, whatever is in it.
func TestFail(t *testing.T) {
	for _, message := range []string{"plain", "a \"b\" \\ \x00\x01\x7f\xff é 漢 \U0001f600 \n"} {
		var out strings.Builder
		var e struct {
			CNIVersion, Msg string
			Code            int
		}
		code := fail(&out, []byte(`{"cniVersion":"0.4.0"}`), 11, message)
		if err := json.Unmarshal([]byte(out.String()), &e); err != nil || code == 0 || e.Code != 11 || e.CNIVersion != "0.4.0" || !strings.HasPrefix(e.Msg, "catenet: ") {
			t.Errorf("%q: %s, %v", message, out.String(), err)
		}
	}
}

func TestVersions(t *testing.T) {
	var out strings.Builder
	var v struct {
		CNIVersion        string
		SupportedVersions []string
	}
	code := versions(&out)
	if err := json.Unmarshal([]byte(out.String()), &v); err != nil || code != 0 || v.CNIVersion != "1.1.0" || strings.Join(v.SupportedVersions, " ") != "0.3.1 0.4.0 1.0.0 1.1.0" {
		t.Errorf("%s, %v", out.String(), err)
	}
}
