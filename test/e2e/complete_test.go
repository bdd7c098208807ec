package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/catenet/catenet/test/lab"
)

// shells are real ones, with what make install has put into a folder.
var shells = map[string]struct {
	program, setUp string
}{
	"bash": {"bash --norc --noprofile -i", `. /usr/share/bash-completion/bash_completion; XDG_DATA_DIRS=$DEST/usr/local/share; bind 'set bell-style none'; bind 'set show-all-if-ambiguous on'; bind 'set enable-bracketed-paste off'`},
	"zsh":  {"zsh -f -i", `fpath=($DEST/usr/local/share/zsh/site-functions /usr/share/zsh/functions/Completion{,/Base,/Zsh,/Unix}); autoload -U compinit; compinit -u -D; setopt no_beep no_list_ambiguous; unset zle_bracketed_paste; bindkey -e`},
	"fish": {"fish --no-config --interactive --init-command 'set fish_greeting' --private", `set fish_complete_path $DEST/etc/fish/completions`},
}

// completed is what Tab makes of what was typed.
var completed = map[string]string{
	"rm web":                                            "rm webserver",
	"inspect front":                                     "inspect frontend",
	"stop data":                                         "stop database",
	"port webserver ":                                   "port webserver 80/udp",
	"network rm back":                                   "network rm backend",
	"network connect backend web":                       "network connect backend webserver",
	"network disconnect frontend ":                      "network disconnect frontend webserver",
	"run --network front":                               "run --network frontend",
	"run --network=back":                                "run --network=backend",
	"run --network container:we":                        "run --network container:webserver",
	"network create -d br":                              "network create -d bridge",
	"network ls -f dri":                                 "network ls -f driver=",
	"network ls --filter driver=nu":                     "network ls --filter driver=null",
	"events --filter container=data":                    "events --filter container=database",
	"network prune --filter unt":                        "network prune --filter until=",
	"network create -o com.docker.network.container_if": "network create -o com.docker.network.container_iface_prefix=",
	"comp": "completion",
}

// TestShellsCompleteLiveNames types at a terminal, presses Tab, and looks at
// what stands on the command line then.
func TestShellsCompleteLiveNames(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	h := l.Host("a")
	h.Daemon()
	h.Catenet("network", "create", "frontend")
	h.Catenet("network", "create", "backend")
	h.Catenet("run", "-d", "--name", "webserver", "--network", "frontend", "-p", "8080:80/udp", "--", "sleep", "600")
	h.Catenet("run", "-d", "--name", "database", "--network", "backend", "--", "sleep", "600")
	dest := filepath.Join(h.Dir, "dest")
	mk := installer(t)
	mk("man")
	mk(built, written, "install", "DESTDIR="+dest)
	for shell, s := range shells {
		term := h.Terminal([]string{
			"DEST=" + dest, "CATENET_HOST=unix://" + h.Socket(), "HOME=" + h.Dir,
			"PATH=" + lab.Binaries(t) + ":" + os.Getenv("PATH"),
		}, "sh", "-c", "cd "+h.Dir+" && exec "+s.program)
		term.Type(s.setUp + "; echo re''ady\r")
		term.Wait(`ready\r?\n`)
		for typed, want := range completed {
			got := typed
			// A daemon on a busy machine may not answer in time: nothing is
			// completed then.
			for range 10 {
				// What stands on the line then is made the argument of echo.
				term.Type("catenet " + typed + "\t\x01echo '<\x05>'\r")
				if got = strings.TrimSuffix(term.Wait(`[\r\n]<catenet ([^>]*)>\r?\n`)[1], " "); got != strings.TrimSuffix(typed, " ") {
					break
				}
			}
			if got != want {
				t.Errorf("%s makes of %q: %q, want %q", shell, typed, got, want)
			}
		}
	}
}
