package catenet

import "testing"

func TestParseLink(t *testing.T) {
	for s, want := range map[string]Link{
		"db":        {"db", "db"},
		"db:store":  {"db", "store"},
		"a.b_c:d-e": {"a.b_c", "d-e"},
	} {
		got, err := ParseLink(s)
		if err != nil || got != want {
			t.Errorf("%q is %v (%v), want %v", s, got, err, want)
		}
		if again, err := ParseLink(got.String()); err != nil || again != got {
			t.Errorf("%v is written %q, which is read as %v (%v)", got, got, again, err)
		}
	}
	for _, s := range []string{"", ":", "db:", ":db", "a:b:c", "/db:x", "db:x y", "-x:y", "db:../hosts"} {
		if l, err := ParseLink(s); !IsInvalid(err) || HintOf(err) == "" {
			t.Errorf("%q is %v (%v), want an invalid error with a hint", s, l, err)
		}
	}
}

func TestValidateLinks(t *testing.T) {
	if err := ValidateLinks([]Link{{"a", "x"}, {"a", "y"}, {"b", "b"}}); err != nil {
		t.Error(err)
	}
	for _, links := range [][]Link{{{"a", "x"}, {"b", "x"}}, {{"", "x"}}, {{"a", ""}}} {
		if err := ValidateLinks(links); !IsInvalid(err) {
			t.Errorf("%v: %v, want an invalid error", links, err)
		}
	}
}
