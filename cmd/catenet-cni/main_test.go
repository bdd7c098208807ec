package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/catenet/catenet/api/pipe"
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
		`{"cniVersion":null,"y":{"cniVersion":"0.3.1"}}`:                                      "",
		`{"args":{"cniVersion":"x"},"z":["cniVersion","y"],"a":"\\\",","cniVersion":"1.0.0"}`: "1.0.0",
		`{"args":[{"a":"}"}],"cniVersion":"1.0.0"}`:                                           "1.0.0",
		`{"a":"\`: "",
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
		code := fail(&out, []byte(`{"cniVersion":"0.4.0"}`), 11, message, running)
		if err := json.Unmarshal([]byte(out.String()), &e); err != nil || code == 0 || e.Code != 11 || e.CNIVersion != "0.4.0" || !strings.HasPrefix(e.Msg, "catenet: ") {
			t.Errorf("%q: %s, %v", message, out.String(), err)
		}
	}
}

// The answer to VERSION is in the version that it was asked in.
func TestVersion(t *testing.T) {
	t.Setenv("CNI_COMMAND", "VERSION")
	for in, want := range map[string]string{`{"cniVersion":"0.4.0"}`: "0.4.0", ``: "1.1.0", `{}`: "1.1.0"} {
		var out strings.Builder
		var v struct {
			CNIVersion        string
			SupportedVersions []string
		}
		code := run(strings.NewReader(in), &out)
		if err := json.Unmarshal([]byte(out.String()), &v); err != nil || code != 0 || v.CNIVersion != want || len(v.SupportedVersions) != 4 {
			t.Errorf("%s: exit %d, %s, %v", in, code, out.String(), err)
		}
	}
}

// What the daemon would not take is not sent, and no DEL of it is written down.
func TestTooLong(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("CATENET_HOST", filepath.Join(dir, "s"))
	t.Setenv("CNI_COMMAND", "DEL")
	var out strings.Builder
	if code := run(strings.NewReader(`{"cniVersion":"1.0.0","x":"`+strings.Repeat("x", pipe.MaxStdin)), &out); code != 1 || !strings.Contains(out.String(), `"cniVersion":"1.0.0","code":5`) {
		t.Errorf("exit %d, %s", code, out.String())
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("there is %v, %v", left, err)
	}
}
