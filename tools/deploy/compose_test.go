package deploy

import (
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

var generatedPattern = regexp.MustCompile(`(?m)^#   for name in ([A-Z_ ]+); do$`)

// generated are the variables that the command at the head of compose.yaml writes into .env.
func generated(t testing.TB) []string {
	t.Helper()
	match := generatedPattern.FindStringSubmatch(read(t, "compose.yaml"))
	if match == nil {
		t.Fatal("compose.yaml does not say how to make .env")
	}
	return strings.Fields(match[1])
}

// project loads compose.yaml as `docker compose` does, with these variables.
func project(t testing.TB, environment []string) (*types.Project, error) {
	t.Helper()
	o, err := cli.NewProjectOptions([]string{filepath.Join(root, "compose.yaml")}, cli.WithEnv(environment), cli.WithResolvedPaths(true))
	check(t, err)
	return o.LoadProject(t.Context())
}

// compose is project with the variables that compose.yaml says to generate. Each has its lower-case name as value.
func compose(t testing.TB) *types.Project {
	t.Helper()
	var environment []string
	for _, name := range generated(t) {
		environment = append(environment, name+"="+strings.ToLower(name))
	}
	p, err := project(t, environment)
	check(t, err)
	return p
}

func variablesOf(s types.ServiceConfig) map[string]string {
	environment := map[string]string{}
	for name, value := range s.Environment {
		environment[name] = *value
	}
	return environment
}

func TestComposeHasNoDefaultSecrets(t *testing.T) {
	t.Parallel()
	names := generated(t)
	for missing := range names {
		var environment []string
		for i, name := range names {
			if i != missing {
				environment = append(environment, name+"=x")
			}
		}
		if _, err := project(t, environment); err == nil || !strings.Contains(err.Error(), names[missing]) {
			t.Errorf("without %s: %v", names[missing], err)
		}
	}
}

func TestComposeServicesHaveNoRightsAndListenOnThisMachineOnly(t *testing.T) {
	t.Parallel()
	for name, s := range compose(t).Services {
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || len(s.CapAdd) > 0 || s.Privileged || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s is not confined: %+v", name, s)
		}
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s publishes %s to others", name, port.Published)
			}
		}
		for _, volume := range s.Volumes {
			if volume.Type == types.VolumeTypeBind && !volume.ReadOnly {
				t.Errorf("%s may write to %s", name, volume.Source)
			}
		}
	}
}

func TestComposeStartsInTheOrderOfTheDocuments(t *testing.T) {
	t.Parallel()
	p := compose(t)
	for name, want := range map[string]map[string]string{
		"postgres":     {},
		"migrate-auth": {"postgres": types.ServiceConditionHealthy},
		"migrate":      {"migrate-auth": types.ServiceConditionCompletedSuccessfully},
		"docket":       {"migrate": types.ServiceConditionCompletedSuccessfully},
		"frontend":     {"migrate-auth": types.ServiceConditionCompletedSuccessfully},
	} {
		got := map[string]string{}
		for other, dependency := range p.Services[name].DependsOn {
			got[other] = dependency.Condition
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s depends on %v, want %v", name, got, want)
		}
	}
	if len(p.Services) != 5 || p.Services["postgres"].HealthCheck == nil || p.Services["frontend"].HealthCheck == nil {
		t.Errorf("services %v", p.ServiceNames())
	}
}

func TestComposeRunsTheServiceAsItIsDocumented(t *testing.T) {
	t.Parallel()
	p := compose(t)
	s := p.Services["docket"]
	environment := variablesOf(s)
	checkServes(t, "compose.yaml", environment)
	checkGrace(t, "compose.yaml", time.Duration(*s.StopGracePeriod), environment)
	checkPort(t, "compose.yaml", environment, "ADDR", "8000")
	if addr := environment["METRICS_ADDR"]; addr != "127.0.0.1:9100" {
		t.Errorf("other containers reach the metrics and profiles at %s", addr)
	}
	if s.Ports[0].Target != 8000 || len(s.Ports) != 1 || s.Build == nil || s.Build.Dockerfile != "Dockerfile" || s.HealthCheck != nil {
		t.Errorf("%+v", s)
	}

	migrate := p.Services["migrate"]
	checkEnvironment(t, "compose.yaml", variablesOf(migrate))
	checkCommand(t, "compose.yaml", migrate.Command)
	if migrate.Image != s.Image || migrate.Restart != "no" {
		t.Errorf("%+v", migrate)
	}

	frontend := variablesOf(p.Services["frontend"])
	if frontend["BETTER_AUTH_URL"] != environment["BETTER_AUTH_URL"] || environment["FRONTEND_URL"] != environment["BETTER_AUTH_URL"] {
		t.Errorf("the frontend and the service name different origins: %v %v", frontend, environment)
	}
	for variable := range frontend { // a variable that nothing reads
		files := read(t, "examples/nextjs/lib/auth.ts") + read(t, "examples/nextjs/app/page.tsx")
		if !strings.Contains(files, "process.env."+variable) {
			t.Errorf("the frontend does not read %s", variable)
		}
	}
	for address, login := range map[string]string{
		environment["DATABASE_URL"]: "docket:docket_password", frontend["DATABASE_URL"]: "app:app_password",
		variablesOf(migrate)["MIGRATE_DATABASE_URL"]: "docket_migrate:migrate_password",
	} {
		if !strings.HasPrefix(address, "postgres://"+login+"@postgres:5432/") {
			t.Errorf("%s is not the address for the login of deploy/compose/logins.sh and its secret, %s", address, login)
		}
	}
}
