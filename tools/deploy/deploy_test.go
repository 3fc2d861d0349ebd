package deploy

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

const (
	root = "../.." // the repository, seen from this package

	// user is the user and the group of the image.
	user = 65532

	// stopping is what a process needs at most after SHUTDOWN_DELAY, and a second more: requests in flight have 15 s, the
	// store has 1 s and the collector of traces 3 s.
	stopping = 20 * time.Second
)

// binary is the path of a docket that TestMain has built.
var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "docket-deploy-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "docket")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "./cmd/docket")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// read returns the text of a file, named by its path from the root.
func read(t testing.TB, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, name))
	check(t, err)
	return string(content)
}

// document is what the tests need of openapi.yaml.
type document struct {
	Info  struct{ Version string }
	Paths map[string]any
}

func openAPI(t testing.TB) (d document) {
	t.Helper()
	check(t, yaml.Unmarshal([]byte(read(t, "openapi.yaml")), &d))
	return d
}

var variablePattern = regexp.MustCompile(`(?m)^  ([A-Z][A-Z0-9_]+) +(.*)$`)

// variables returns the names of the variables of the service, from `docket help`, and their defaults.
func variables(t testing.TB) map[string]string {
	t.Helper()
	help, err := exec.Command(binary, "help").Output()
	check(t, err)
	all := map[string]string{}
	for _, match := range variablePattern.FindAllStringSubmatch(string(help), -1) {
		all[match[1]] = strings.Fields(match[2])[0]
	}
	if all["ADDR"] != ":8000" || all["SHUTDOWN_DELAY"] != "1s" {
		t.Fatalf("docket help lists %v", all)
	}
	return all
}

// checkEnvironment fails the test if docket knows one of the variables not, or refuses a value.
func checkEnvironment(t testing.TB, file string, environment map[string]string) {
	t.Helper()
	known := variables(t)
	health := exec.Command(binary, "health", "-live") // it reads all variables, and fails: nothing listens there
	for name, value := range environment {
		if _, exists := known[name]; !exists {
			t.Errorf("%s: docket has no variable %s", file, name)
		}
		health.Env = append(health.Env, name+"="+value)
	}
	health.Env = append(health.Env, "METRICS_ADDR=127.0.0.1:1") // the last one counts
	out, err := health.CombinedOutput()
	if exit := new(exec.ExitError); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("%s: docket refuses its environment: %v\n%s", file, err, out)
	}
}

// checkServes is checkEnvironment, and fails the test also if `docket serve` would not start with these variables.
func checkServes(t testing.TB, file string, environment map[string]string) {
	t.Helper()
	checkEnvironment(t, file, environment)
	serve := exec.Command(binary, "serve")
	for name, value := range environment {
		serve.Env = append(serve.Env, name+"="+value)
	}
	serve.Env = append(serve.Env, "ADDR=192.0.2.1:1") // an address that no machine has
	out, err := serve.CombinedOutput()
	if exit := new(exec.ExitError); !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(out), "listen") {
		t.Errorf("%s: docket serve does not start with it: %v\n%s", file, err, out)
	}
}

// checkGrace fails the test unless a grace period is long enough for stopping with this SHUTDOWN_DELAY. It returns the
// delay.
func checkGrace(t testing.TB, file string, grace time.Duration, environment map[string]string) (delay time.Duration) {
	t.Helper()
	delay, err := time.ParseDuration(cmp.Or(environment["SHUTDOWN_DELAY"], variables(t)["SHUTDOWN_DELAY"]))
	check(t, err)
	if need := delay + stopping; grace < need {
		t.Errorf("%s: the grace period is %v, stopping needs %v", file, grace, need)
	}
	return delay
}

// checkCommand fails the test unless these are arguments of docket that its help lists.
func checkCommand(t testing.TB, file string, args []string) {
	t.Helper()
	if !slices.ContainsFunc([]string{"serve", "migrate up", "health"}, func(command string) bool { return command == strings.Join(args, " ") }) {
		t.Errorf("%s: it runs docket %v", file, args)
	}
}

// checkPort fails the test unless the address that a variable gives, or its default, has the port.
func checkPort(t testing.TB, file string, environment map[string]string, name, port string) {
	t.Helper()
	if addr := cmp.Or(environment[name], variables(t)[name]); addr != ":"+port {
		t.Errorf("%s: the port is %s, but %s is %s", file, port, name, addr)
	}
}

// checkProbe fails the test unless the path of a probe is one of the contract.
func checkProbe(t testing.TB, file, path string) {
	t.Helper()
	if openAPI(t).Paths[path] == nil {
		t.Errorf("%s: openapi.yaml has no %s", file, path)
	}
}

// Each file below deploy belongs to a folder that a test checks. Those of other folders are checked by the tests named.
func TestEveryFolderBelowDeployIsChecked(t *testing.T) {
	t.Parallel()
	checked := map[string]string{
		"compose": "here", "fly": "here", "kubernetes": "here", "systemd": "here",
		"grafana": "alerts", "haproxy": "rolling", "nginx": "rolling", "prometheus": "alerts",
	}
	folders, err := os.ReadDir(filepath.Join(root, "deploy"))
	check(t, err)
	for _, folder := range folders {
		if checked[folder.Name()] == "" {
			t.Errorf("deploy/%s is checked by no test", folder.Name())
		}
	}
}

// Whatever tells an operator how long stopping takes says the same.
func TestGracePeriodsAreDocumented(t *testing.T) {
	t.Parallel()
	for name, times := range map[string]int{
		"compose.yaml": 1, "docs/operations.md": 3, "deploy/fly/fly.toml": 1, "deploy/kubernetes/docket.env": 1, "deploy/systemd/docket.service": 1,
	} {
		text := strings.Join(strings.Fields(strings.NewReplacer("#", " ", "`", "").Replace(read(t, name))), " ")
		more := fmt.Sprintf("%.0f s more", stopping.Seconds())
		if n := strings.Count(text, more); n != times {
			t.Errorf("%s says %q %d times, want %d", name, more, n, times)
		}
	}
}

var versionPattern = regexp.MustCompile(`(?m)^(?: +newTag: |VERSION = "|.*--tag docket:)([0-9][^\s"]*)`)

func TestVersionsOfImagesEqualTheOneOfTheContract(t *testing.T) {
	t.Parallel()
	want := openAPI(t).Info.Version
	for _, name := range []string{"Dockerfile", "deploy/kubernetes/kustomization.yaml", "deploy/fly/fly.toml"} {
		found := versionPattern.FindAllStringSubmatch(read(t, name), -1)
		if len(found) != 1 || found[0][1] != want {
			t.Errorf("%s has the versions %v, openapi.yaml %s", name, found, want)
		}
	}
}
