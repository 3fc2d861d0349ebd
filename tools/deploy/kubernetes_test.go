package deploy

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

const kubernetes = "deploy/kubernetes"

// decode decodes YAML documents into the types of Kubernetes. A field that a type does not have is an error.
func decode(t testing.TB, text []byte) (objects []runtime.Object) {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		appsv1.AddToScheme, autoscalingv2.AddToScheme, batchv1.AddToScheme, corev1.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme,
	} {
		check(t, add(scheme))
	}
	decoder := json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme, scheme, json.SerializerOptions{Yaml: true, Strict: true})
	for r := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text))); ; {
		document, err := r.Read()
		if errors.Is(err, io.EOF) {
			return objects
		}
		check(t, err)
		object, _, err := decoder.Decode(document, nil, nil)
		if err != nil {
			t.Fatalf("%v\n%s", err, document)
		}
		objects = append(objects, object)
	}
}

// base is what `kubectl apply -k` sends.
type base struct {
	config     *corev1.ConfigMap
	deployment *appsv1.Deployment
	job        *batchv1.Job
	service    *corev1.Service
	budget     *policyv1.PodDisruptionBudget
	autoscaler *autoscalingv2.HorizontalPodAutoscaler
	network    *networkingv1.NetworkPolicy
}

func build(t testing.TB) (b base) {
	t.Helper()
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(root, kubernetes))
	check(t, err)
	text, err := resources.AsYaml()
	check(t, err)
	objects := decode(t, text)
	for _, object := range objects {
		switch o := object.(type) {
		case *corev1.ConfigMap:
			b.config = o
		case *appsv1.Deployment:
			b.deployment = o
		case *batchv1.Job:
			b.job = o
		case *corev1.Service:
			b.service = o
		case *policyv1.PodDisruptionBudget:
			b.budget = o
		case *autoscalingv2.HorizontalPodAutoscaler:
			b.autoscaler = o
		case *networkingv1.NetworkPolicy:
			b.network = o
		default:
			t.Errorf("unexpected: %T", o)
		}
	}
	if len(objects) != 7 || b.config == nil || b.deployment == nil || b.job == nil || b.service == nil || b.budget == nil || b.autoscaler == nil || b.network == nil {
		t.Fatalf("%d resources: %+v", len(objects), b)
	}
	return b
}

// secretsOf decodes the template of the secrets, by their names.
func secretsOf(t testing.TB) map[string]map[string]string {
	t.Helper()
	secrets := map[string]map[string]string{}
	for _, object := range decode(t, []byte(read(t, kubernetes+"/secrets.example.yaml"))) {
		secret := object.(*corev1.Secret)
		secrets[secret.Name] = secret.StringData
	}
	return secrets
}

// environmentOf returns the variables of a container, with the values of the template for secrets.
func environmentOf(t testing.TB, b base, c corev1.Container) map[string]string {
	t.Helper()
	environment, secrets := map[string]string{}, secretsOf(t)
	for _, source := range c.EnvFrom {
		if source.ConfigMapRef == nil || source.ConfigMapRef.Name != b.config.Name {
			t.Fatalf("%s refers to another ConfigMap than %s: %+v", c.Name, b.config.Name, source)
		}
		maps.Copy(environment, b.config.Data)
	}
	for _, v := range c.Env {
		secret := v.ValueFrom.SecretKeyRef
		value := secrets[secret.Name][secret.Key]
		if value == "" {
			t.Errorf("%s: the template has no %s in %s", c.Name, secret.Key, secret.Name)
		}
		environment[v.Name] = value
	}
	return environment
}

func TestKubernetesRunsTheServiceAsItIsDocumented(t *testing.T) {
	t.Parallel()
	b := build(t)
	pod := b.deployment.Spec.Template.Spec
	c := pod.Containers[0]
	environment := environmentOf(t, b, c)
	checkServes(t, kubernetes, environment)
	checkCommand(t, kubernetes, c.Args)
	delay := checkGrace(t, kubernetes, time.Duration(*pod.TerminationGracePeriodSeconds)*time.Second, environment)

	ports := map[string]int32{}
	for _, p := range c.Ports {
		ports[p.Name] = p.ContainerPort
	}
	if !maps.Equal(ports, map[string]int32{"http": 8000, "admin": 9100}) {
		t.Errorf("ports %v", ports)
	}
	checkPort(t, kubernetes, environment, "ADDR", "8000")
	checkPort(t, kubernetes, environment, "METRICS_ADDR", "9100")
	for probe, path := range map[*corev1.Probe]string{c.StartupProbe: "/health", c.LivenessProbe: "/health", c.ReadinessProbe: "/health/ready"} {
		if probe == nil || probe.HTTPGet.Path != path || probe.HTTPGet.Port.StrVal != "admin" {
			t.Fatalf("probe %+v, want %s on the port admin", probe, path)
		}
		checkProbe(t, kubernetes, path)
	}
	// docs/operations.md, "Behind a proxy", has these numbers.
	readiness, stays := c.ReadinessProbe, b.deployment.Spec.MinReadySeconds
	if readiness.PeriodSeconds != 2 || readiness.FailureThreshold != 2 || readiness.TimeoutSeconds <= 2 || stays != 2 || delay != 10*time.Second {
		t.Errorf("readiness: %+v; minReadySeconds is %d, SHUTDOWN_DELAY %v", readiness, stays, delay)
	}
	annotations := b.deployment.Spec.Template.Annotations
	if annotations["prometheus.io/port"] != "9100" || annotations["prometheus.io/path"] != "/metrics" || annotations["prometheus.io/scrape"] != "true" {
		t.Errorf("annotations %v", annotations)
	}
	if _, found := environment["GOMEMLIMIT"]; found || c.Resources.Limits.Memory().IsZero() || c.Resources.Limits.Cpu().IsZero() {
		t.Error("docket derives GOMEMLIMIT and GOMAXPROCS from the limits of the container, which must exist")
	}
}

func TestKubernetesMigratesWithTheLoginOfTheMigration(t *testing.T) {
	t.Parallel()
	b := build(t)
	c := b.job.Spec.Template.Spec.Containers[0]
	environment := environmentOf(t, b, c)
	checkEnvironment(t, kubernetes, environment)
	checkCommand(t, kubernetes, c.Args)
	if len(environment) != 1 || environment["MIGRATE_DATABASE_URL"] == "" {
		t.Errorf("the job has the variables %v", environment)
	}
	if image := b.deployment.Spec.Template.Spec.Containers[0].Image; c.Image != image {
		t.Errorf("the job runs %s, the service %s", c.Image, image)
	}
}

func TestKubernetesTemplateOfSecretsMustBeReplaced(t *testing.T) {
	t.Parallel()
	for name, secret := range secretsOf(t) {
		for key, value := range secret {
			if strings.Count(value, "REPLACE-") != 4 {
				t.Errorf("%s of %s does not say what to replace: %s", key, name, value)
			}
		}
	}
	resources := read(t, kubernetes+"/kustomization.yaml")
	if _, list, _ := strings.Cut(resources, "\nresources:"); strings.Contains(list, "secret") {
		t.Error("the template of the secrets is applied with the rest")
	}
}

// The checks are those of the admission controller that enforces pod-security.kubernetes.io/enforce.
func TestKubernetesPodsSatisfyTheRestrictedProfile(t *testing.T) {
	t.Parallel()
	b := build(t)
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	check(t, err)
	restricted := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	for name, pod := range map[string]corev1.PodTemplateSpec{"deployment": b.deployment.Spec.Template, "job": b.job.Spec.Template} {
		for _, result := range evaluator.EvaluatePod(restricted, &pod.ObjectMeta, &pod.Spec) {
			if !result.Allowed {
				t.Errorf("%s: %s: %s", name, result.ForbiddenReason, result.ForbiddenDetail)
			}
		}
		if *pod.Spec.SecurityContext.RunAsUser != user || *pod.Spec.SecurityContext.RunAsGroup != user {
			t.Errorf("%s runs as another user than the image", name)
		}
		if !*pod.Spec.Containers[0].SecurityContext.ReadOnlyRootFilesystem || *pod.Spec.AutomountServiceAccountToken || *pod.Spec.EnableServiceLinks {
			t.Errorf("%s: %+v", name, pod.Spec)
		}
	}
	if result := policy.AggregateCheckResults(evaluator.EvaluatePod(restricted, &metav1.ObjectMeta{}, &corev1.PodSpec{Containers: []corev1.Container{{}}})); result.Allowed {
		t.Error("the checks allow every pod")
	}
}

func TestKubernetesSelectsThePodsOfTheService(t *testing.T) {
	t.Parallel()
	b := build(t)
	deployment := b.deployment.Spec
	selectors := map[string]*metav1.LabelSelector{
		"deployment": deployment.Selector, "service": {MatchLabels: b.service.Spec.Selector}, "budget": b.budget.Spec.Selector,
		"network": &b.network.Spec.PodSelector,
	}
	constraints := deployment.Template.Spec.TopologySpreadConstraints
	for _, constraint := range constraints {
		selectors["spread by "+constraint.TopologyKey] = constraint.LabelSelector
	}
	for name, selector := range selectors {
		s, err := metav1.LabelSelectorAsSelector(selector)
		check(t, err)
		if !s.Matches(labels.Set(deployment.Template.Labels)) || s.Matches(labels.Set(b.job.Spec.Template.Labels)) {
			t.Errorf("%s selects %s", name, s)
		}
	}
	if keys := slices.Collect(maps.Keys(selectors)); len(constraints) != 2 || !slices.Contains(keys, "spread by kubernetes.io/hostname") {
		t.Errorf("spread: %v", keys)
	}
	if port := b.service.Spec.Ports[0].TargetPort.StrVal; port != "http" {
		t.Errorf("the service leads to the port %s", port)
	}
}

func TestKubernetesKeepsPodsDuringUpdatesAndDrains(t *testing.T) {
	t.Parallel()
	b := build(t)
	update := b.deployment.Spec.Strategy.RollingUpdate
	if update.MaxUnavailable.String() != "0" || update.MaxSurge.String() != "1" {
		t.Errorf("%+v", update)
	}
	scaled := b.autoscaler.Spec
	if *scaled.MinReplicas < 2 || scaled.ScaleTargetRef.Name != b.deployment.Name || scaled.ScaleTargetRef.Kind != "Deployment" || b.deployment.Spec.Replicas != nil {
		t.Errorf("the autoscaler: %+v; replicas %v", scaled, b.deployment.Spec.Replicas)
	}
	// What the pods open together leaves some of PostgreSQL's 100 connections for Better Auth, the migration and people. It
	// keeps 3 for superusers.
	perPod, err := strconv.Atoi(b.config.Data["DB_MAX_CONNS"])
	check(t, err)
	pods := int(scaled.MaxReplicas) + 2 // and one that starts, and one that stops
	connections := pods * (perPod + 1)
	if connections > 100-3-10-5 {
		t.Errorf("%d pods open %d connections", pods, connections)
	}
	if sum := fmt.Sprintf("(%d + 2) × (%d + 1) = %d", scaled.MaxReplicas, perPod, connections); !strings.Contains(read(t, kubernetes+"/docket.env"), sum) {
		t.Errorf("docket.env does not say that it is %s", sum)
	}
	if budget := b.budget.Spec; budget.MaxUnavailable.String() != "1" || budget.MinAvailable != nil {
		t.Errorf("%+v", budget)
	}
	for _, metric := range scaled.Metrics {
		if _, found := b.deployment.Spec.Template.Spec.Containers[0].Resources.Requests[metric.Resource.Name]; !found {
			t.Errorf("the autoscaler needs a request of %s", metric.Resource.Name)
		}
	}
	admin := 0 // rules that open the port of the metrics
	for _, rule := range b.network.Spec.Ingress {
		for _, port := range rule.Ports {
			if port.Port.StrVal == "admin" {
				admin += len(rule.From)
			}
		}
		if len(rule.From) == 0 && (len(rule.Ports) != 1 || rule.Ports[0].Port.StrVal != "http") {
			t.Errorf("everybody may connect to %v", rule.Ports)
		}
	}
	if admin != 1 {
		t.Errorf("%d rules open the port of the metrics", admin)
	}
}
