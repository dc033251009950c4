package main

import (
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/controllers"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/test/controlplane"
)

const (
	systemNamespace = "espalier-system"
	managerName     = "espalier-controller-manager"
)

// installation is a control plane that the operator is installed on as the documentation says. The manager runs as its Deployment says,
// with the rights of its service account, as a process of this machine.
type installation struct {
	t      *testing.T
	plane  *controlplane.ControlPlane
	client client.Client
	core   kubernetes.Interface
	folder string // that commands run in
	tool   string // kubectl
	node   *node

	probes, metrics string // addresses of the manager that runs
}

func newInstallation(t *testing.T) *installation {
	t.Helper()
	plane := controlplane.Start(t, controlplane.Options{ControllerManager: true})
	bin, err := controlplane.Bin()
	if err != nil {
		t.Fatal(err)
	}
	scheme, err := controllers.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	if err := appsv1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	i := &installation{t: t, plane: plane, folder: t.TempDir(), tool: filepath.Join(bin, "kubectl")}
	root, err := controlplane.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(root, "config"), filepath.Join(i.folder, "config")); err != nil { // commands name files of it
		t.Fatal(err)
	}
	if i.client, err = client.New(plane.Config, client.Options{Scheme: scheme}); err != nil {
		t.Fatal(err)
	}
	if i.core, err = kubernetes.NewForConfig(plane.Config); err != nil {
		t.Fatal(err)
	}
	i.kubectl("delete", "crd", "optimizationpipelines.espalier.dev") // that every control plane of tests has
	i.node = &node{t: t, client: i.client, claims: i.claims(), seen: map[string]bool{}}
	return i
}

// claims is a folder with the claim work, in which the project's files are.
func (i *installation) claims() string {
	i.t.Helper()
	folder, manifest := i.t.TempDir(), project(i.t)
	if err := os.Mkdir(filepath.Join(folder, "work"), 0o755); err != nil {
		i.t.Fatal(err)
	}
	for _, name := range []string{"model.tflite", "data.npz"} {
		write(i.t, filepath.Join(folder, "work", name), read(i.t, filepath.Join(filepath.Dir(manifest), name)))
	}
	return folder
}

func (i *installation) kubectl(args ...string) string {
	i.t.Helper()
	cmd := exec.CommandContext(i.t.Context(), i.tool, args...)
	cmd.Dir, cmd.Env = i.folder, append(os.Environ(), "KUBECONFIG="+i.plane.Kubeconfig)
	text, err := cmd.CombinedOutput()
	if err != nil {
		i.t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, text)
	}
	return string(text)
}

// render makes out/install.yaml, as make install-manifest does.
func (i *installation) render(config, image string) {
	i.t.Helper()
	root, err := controlplane.ModuleRoot()
	if err != nil {
		i.t.Fatal(err)
	}
	cmd := exec.CommandContext(i.t.Context(), "go", "run", "./hack/install", "-image", image, config, filepath.Join(i.folder, "out", "install.yaml"))
	cmd.Dir = root
	if text, err := cmd.CombinedOutput(); err != nil {
		i.t.Fatalf("render: %v\n%s", err, text)
	}
}

// documented runs the commands of kubectl that a chapter of docs/operator.md gives, those that ask whether a Deployment runs left out:
// there is no node here.
func (i *installation) documented(chapter string) {
	i.t.Helper()
	_, text, found := strings.Cut(string(read(i.t, filepath.Join("..", "..", "docs", "operator.md"))), "\n## "+chapter+"\n")
	if !found {
		i.t.Fatalf("operator.md has no chapter %s", chapter)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	commands := 0
	for line := range strings.Lines(text) {
		command, _, _ := strings.Cut(line, "#")
		if words := strings.Fields(command); len(words) > 2 && words[0] == "$" && words[1] == "kubectl" && !slices.Contains(words, "rollout") {
			i.kubectl(words[2:]...)
			commands++
		}
	}
	if commands == 0 {
		i.t.Fatalf("chapter %s names no command", chapter)
	}
}

// helm runs commands that the chapter on Helm gives, those that begin with verb.
func (i *installation) helm(verb string) {
	i.t.Helper()
	root, err := controlplane.ModuleRoot()
	if err != nil {
		i.t.Fatal(err)
	}
	text := string(read(i.t, filepath.Join(root, "docs", "operator.md")))
	_, command, found := strings.Cut(text, "\n$ helm "+verb+" ")
	if !found {
		i.t.Fatalf("operator.md has no helm %s", verb)
	}
	command, _, _ = strings.Cut(command, "\n")
	cmd := exec.CommandContext(i.t.Context(), filepath.Join(root, "bin", "helm"), append([]string{verb}, strings.Fields(command)...)...)
	cmd.Dir, cmd.Env = i.folder, append(os.Environ(), "KUBECONFIG="+i.plane.Kubeconfig, "HELM_CACHE_HOME="+i.folder, "HELM_CONFIG_HOME="+i.folder, "HELM_DATA_HOME="+i.folder)
	if out, err := cmd.CombinedOutput(); err != nil {
		i.t.Fatalf("helm %s: %v\n%s", verb, err, out)
	}
}

// container is the manager's, as the Deployment has it.
func (i *installation) container() corev1.Container {
	i.t.Helper()
	var d appsv1.Deployment
	if err := i.client.Get(i.t.Context(), client.ObjectKey{Namespace: systemNamespace, Name: managerName}, &d); err != nil {
		i.t.Fatal(err)
	}
	return d.Spec.Template.Spec.Containers[0]
}

// kubeconfig is a file with the rights of the manager's service account.
func (i *installation) kubeconfig() string {
	i.t.Helper()
	token, err := i.core.CoreV1().ServiceAccounts(systemNamespace).CreateToken(i.t.Context(), managerName, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		i.t.Fatal(err)
	}
	c := clientcmdapi.NewConfig()
	c.Clusters["c"] = &clientcmdapi.Cluster{Server: i.plane.Config.Host, CertificateAuthorityData: i.plane.Config.CAData}
	c.AuthInfos["manager"] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	c.Contexts["c"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "manager"}
	c.CurrentContext = "c"
	path := filepath.Join(i.t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*c, path); err != nil {
		i.t.Fatal(err)
	}
	return path
}

// manager starts the manager as the Deployment says. What it returns stops it and returns its log.
func (i *installation) manager() (stop func() string) {
	i.t.Helper()
	c := i.container()
	i.probes, i.metrics = freeAddress(i.t), freeAddress(i.t)
	args := make([]string, 0, len(c.Args)+4)
	for _, arg := range c.Args {
		args = append(args, strings.ReplaceAll(arg, "$(POD_NAMESPACE)", systemNamespace))
	}
	args = append(args, "--kubeconfig="+i.kubeconfig(), "--leader-election-namespace="+systemNamespace, // a pod's own
		"--health-probe-bind-address="+i.probes, "--metrics-bind-address="+i.metrics)
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asCommand+"=1")
	for _, v := range c.Env {
		if v.Value != "" {
			cmd.Env = append(cmd.Env, v.Name+"="+v.Value)
		}
	}
	log := &lockedBuffer{}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		i.t.Fatal(err)
	}
	i.t.Cleanup(func() { _ = cmd.Process.Kill() })
	if code, _ := get(i.t.Context(), i.t, "http://"+i.probes+"/readyz", ""); code != http.StatusOK {
		i.t.Errorf("/readyz answers %d", code)
	}
	return func() string {
		i.t.Helper()
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			i.t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			i.t.Errorf("the manager ended: %v\n%s", err, log)
		}
		lines := strings.Split(log.String(), "\n")
		return strings.Join(slices.DeleteFunc(lines, func(line string) bool {
			return strings.Contains(line, `"err":"leader election lost"`) // of its own end, if controller-runtime gets to say so
		}), "\n")
	}
}

// pipeline creates one of two stages, on the claim.
func (i *installation) pipeline(namespace, name string) {
	i.t.Helper()
	p := decode(i.t, project(i.t))
	p.Namespace, p.Name, p.Generation = namespace, name, 0
	p.Spec.Model.URI, p.Spec.Dataset.URI = "pvc://work/model.tflite", "pvc://work/data.npz"
	p.Spec.Artifacts = &v1alpha1.ArtifactStore{Location: v1alpha1.Location{URI: "pvc://work/" + name}}
	p.Spec.Stages = p.Spec.Stages[:2]
	eventually(i.t, "the definition to be served", func() bool { return i.client.Create(i.t.Context(), p.DeepCopy()) == nil })
}

func (i *installation) get(namespace, name string) *v1alpha1.OptimizationPipeline {
	i.t.Helper()
	p := &v1alpha1.OptimizationPipeline{}
	if err := i.client.Get(i.t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, p); err != nil {
		i.t.Fatal(err)
	}
	return p
}

// ready carries out pods until a pipeline is.
func (i *installation) ready(namespace, name string) *v1alpha1.OptimizationPipeline {
	i.t.Helper()
	var p *v1alpha1.OptimizationPipeline
	eventually(i.t, name+" to be ready", func() bool {
		i.node.work(i.t.Context())
		p = i.get(namespace, name)
		if meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionStalled) {
			i.t.Fatalf("%s: %+v", name, p.Status)
		}
		return meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionReady)
	})
	return p
}

// jobs are a namespace's Jobs and their images.
func (i *installation) jobs(namespace string) map[string]string {
	i.t.Helper()
	var list batchv1.JobList
	if err := i.client.List(i.t.Context(), &list, client.InNamespace(namespace)); err != nil {
		i.t.Fatal(err)
	}
	out := map[string]string{}
	for _, job := range list.Items {
		out[string(job.UID)+" "+job.Name] = job.Spec.Template.Spec.Containers[0].Image
	}
	return out
}

func (i *installation) namespace(name string) {
	i.t.Helper()
	if err := i.client.Create(i.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}}}); err != nil {
		i.t.Fatal(err)
	}
	eventually(i.t, "what Kubernetes puts into "+name, func() bool {
		err := i.client.Get(i.t.Context(), client.ObjectKey{Namespace: name, Name: "default"}, &corev1.ServiceAccount{})
		return err == nil && i.client.Get(i.t.Context(), client.ObjectKey{Namespace: name, Name: "kube-root-ca.crt"}, &corev1.ConfigMap{}) == nil
	})
}

// everything is every object of the cluster, but for what says only that something happened or that somebody is there.
func (i *installation) everything() []string {
	i.t.Helper()
	c, err := dynamic.NewForConfig(i.plane.Config)
	if err != nil {
		i.t.Fatal(err)
	}
	groups, err := i.core.Discovery().ServerPreferredResources()
	if err != nil {
		i.t.Fatal(err)
	}
	found := map[string]bool{}
	for _, group := range groups {
		version, err := schema.ParseGroupVersion(group.GroupVersion)
		if err != nil {
			i.t.Fatal(err)
		}
		for _, r := range group.APIResources {
			if !slices.Contains(r.Verbs, "list") || slices.Contains([]string{"events", "leases", "componentstatuses"}, r.Name) {
				continue
			}
			list, err := c.Resource(version.WithResource(r.Name)).List(i.t.Context(), metav1.ListOptions{})
			if apierrors.IsNotFound(err) { // no longer there
				continue
			}
			if err != nil {
				i.t.Fatal(err)
			}
			for _, o := range list.Items {
				found[r.Name+"."+version.Group+" "+o.GetNamespace()+"/"+o.GetName()] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// settled is everything once Kubernetes has put there what it puts there by itself, some of it seconds after it answers.
func (i *installation) settled() []string {
	i.t.Helper()
	was, since := i.everything(), time.Now()
	eventually(i.t, "Kubernetes to have put its own objects there", func() bool {
		if is := i.everything(); !slices.Equal(was, is) {
			was, since = is, time.Now()
		}
		return time.Since(since) > 5*time.Second
	})
	return was
}

// is waits until the cluster is as it was, and says what is other.
func (i *installation) is(before []string) {
	i.t.Helper()
	left := "nothing was compared"
	defer func() {
		if left != "" {
			i.t.Logf("before and now:\n%s", left)
		}
	}()
	eventually(i.t, "the cluster to be as it was", func() bool {
		left = cmp.Diff(before, i.everything())
		return left == ""
	})
}

func TestTheMetricsOfAnInstalledManagerAreForThoseWhoMay(t *testing.T) {
	i := newInstallation(t)
	i.render("config/namespaced", "registry.example.com/espalier:v1")
	i.documented("Install")
	stop := i.manager()
	url := "https://" + i.metrics + "/metrics"
	if code, body := get(t.Context(), t, url, ""); code != http.StatusUnauthorized {
		t.Errorf("to nobody known it answers %d: %.200s", code, body)
	}
	if code, body := get(t.Context(), t, url, "no token"); code < http.StatusBadRequest || strings.Contains(body, "espalier_") {
		t.Errorf("to a token that is none it answers %d: %.200s", code, body)
	}
	if code, body := get(t.Context(), t, url, account(t, i.core, "stranger", false)); code != http.StatusForbidden {
		t.Errorf("to an account without rights it answers %d: %.200s", code, body)
	}
	reader := account(t, i.core, "reader", false)
	binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "reader"},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "espalier-metrics-reader"},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "default", Name: "reader"}}}
	if err := i.client.Create(t.Context(), binding); err != nil {
		t.Fatal(err)
	}
	awaitReader(t, i.core, "reader")
	if code, body := get(t.Context(), t, url, reader); code != http.StatusOK || !strings.Contains(body, "espalier_jobs_in_flight 0") {
		t.Errorf("to a reader it answers %d: %.200s", code, body)
	}
	if response, err := http.Get("http://" + i.metrics + "/metrics"); err == nil { //nolint:noctx // a second's request
		defer response.Body.Close()
		if response.StatusCode == http.StatusOK {
			t.Error("it answers without TLS")
		}
	}
	stop()
}

func TestANamespacedInstallWorksInItsNamespaceAlone(t *testing.T) {
	i := newInstallation(t)
	i.namespace("other")
	i.render("config/namespaced", "registry.example.com/espalier:v1")
	i.documented("Install")
	stop := i.manager()
	i.pipeline("other", "elsewhere")
	i.pipeline(systemNamespace, "here")
	p := i.ready(systemNamespace, "here")
	if len(p.Status.Stages) < 3 || p.Status.Selected == nil {
		t.Errorf("%+v", p.Status)
	}
	if p := i.get("other", "elsewhere"); len(p.Status.Stages) > 0 || len(p.Status.Conditions) > 0 || len(i.jobs("other")) > 0 {
		t.Errorf("another namespace's pipeline was touched: %+v, Jobs %v", p.Status, i.jobs("other"))
	}
	if log := stop(); strings.Contains(log, "forbidden") || strings.Contains(log, `"level":"ERROR"`) {
		t.Errorf("the manager's log:\n%s", log)
	}
	as := "--as=system:serviceaccount:" + systemNamespace + ":" + managerName
	for question, want := range map[string]string{
		"create jobs -n " + systemNamespace: "yes", "create jobs -n other": "no", "list pods -n other": "no",
		"list optimizationpipelines.espalier.dev -n other": "no", "patch optimizationpipelines.espalier.dev --subresource=status -n other": "no",
		"get secrets -n " + systemNamespace: "no", "list jobs --all-namespaces": "no", "update leases.coordination.k8s.io -n other": "no",
	} {
		cmd := exec.CommandContext(t.Context(), i.tool, append([]string{"auth", "can-i", as}, strings.Fields(question)...)...)
		cmd.Env = append(os.Environ(), "KUBECONFIG="+i.plane.Kubeconfig)
		text, _ := cmd.CombinedOutput() // "no" is an exit code of 1
		if lines := strings.Fields(string(text)); len(lines) == 0 || lines[len(lines)-1] != want {
			t.Errorf("may it %s? %s", question, text)
		}
	}
}

func TestInstallUpgradeAndUninstallAsDocumented(t *testing.T) {
	const first, second = "registry.example.com/espalier:v1", "registry.example.com/espalier:v2"
	i := newInstallation(t)
	i.namespace("lab")
	before := i.settled()

	i.render("config/default", first)
	i.documented("Install")
	stop := i.manager()
	for _, name := range []string{"finished", "under-way", "unfinished"} {
		i.pipeline("lab", name)
	}
	i.node.hold = map[string]bool{"under-way": true, "unfinished": true}
	finished := i.ready("lab", "finished")
	eventually(t, "every pipeline to have a Job", func() bool {
		return len(i.get("lab", "under-way").Status.Stages) > 0 && len(i.jobs("lab")) == len(finished.Status.Stages)+2
	})
	jobs := i.jobs("lab")
	for job, image := range jobs {
		if image != first {
			t.Errorf("Job %s runs %s", job, image)
		}
	}

	if !strings.Contains(string(read(t, filepath.Join("..", "..", "docs", "operator.md"))), "`kubectl apply --server-side -f out/install.yaml`") {
		t.Error("operator.md gives another command to upgrade with")
	}
	i.render("config/default", second)
	i.kubectl("apply", "--server-side", "-f", "out/install.yaml")
	if c := i.container(); c.Image != second || !slices.ContainsFunc(c.Env, func(v corev1.EnvVar) bool { return v.Name == imageEnv && v.Value == second }) {
		t.Errorf("after the upgrade the Deployment runs %s, with %v", c.Image, c.Env)
	}
	stop()
	stop = i.manager()
	delete(i.node.hold, "under-way")
	resumed := i.ready("lab", "under-way") // the new manager works, and has looked at every pipeline
	for _, s := range resumed.Status.Stages {
		if s.Attempt != 1 {
			t.Errorf("under-way: stage %s is at attempt %d", s.Name, s.Attempt)
		}
	}
	if diff := cmp.Diff(finished.Status, i.get("lab", "finished").Status); diff != "" {
		t.Errorf("the finished pipeline's status after the upgrade:\n%s", diff)
	}
	after := i.jobs("lab")
	for job, image := range jobs {
		if after[job] != image {
			t.Errorf("Job %s of before the upgrade is gone, or runs %q now", job, after[job])
		}
		delete(after, job)
	}
	if len(after) != len(resumed.Status.Stages)-1 {
		t.Errorf("after the upgrade there are these Jobs more, want those of under-way's later stages: %v", after)
	}
	for job, image := range after {
		if image != second || !strings.Contains(job, " under-way-") {
			t.Errorf("Job %s of after the upgrade runs %s", job, image)
		}
	}

	i.documented("Uninstall")
	if log := stop(); strings.Contains(log, "panic") {
		t.Errorf("the manager's log:\n%s", log)
	}
	i.is(before)
	if _, err := os.Stat(filepath.Join(i.node.claims, "work", "finished", "lab", "finished", stage.ResultFile)); err != nil {
		t.Errorf("the store does not stay: %v", err)
	}
}

func TestInstallUpgradeAndUninstallByHelmAsDocumented(t *testing.T) {
	root, err := controlplane.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "bin", "helm")); err != nil {
		t.Skip("needs Helm: run `make tools`")
	}
	i := newInstallation(t)
	i.namespace("lab")
	before := i.settled()

	// an older chart, whose definition lacks the short name
	chart := filepath.Join(i.folder, "dist", "chart", "espalier")
	if err := os.CopyFS(chart, os.DirFS(filepath.Join(root, "dist", "chart", "espalier"))); err != nil {
		t.Fatal(err)
	}
	definition := filepath.Join(chart, "templates", "customresourcedefinition-optimizationpipelines.espalier.dev.yaml")
	current := read(t, definition)
	const shortNames = "    shortNames:\n    - optpipe\n"
	if !strings.Contains(string(current), shortNames) {
		t.Fatal("the definition has no short name")
	}
	write(t, definition, []byte(strings.Replace(string(current), shortNames, "", 1)))
	i.helm("install")
	const first, second = "registry.example.com/espalier:v0.1.0", "registry.example.com/espalier:v0.2.0"
	if c := i.container(); c.Image != first {
		t.Errorf("it runs %s", c.Image)
	}
	stop := i.manager()
	i.pipeline("lab", "finished")
	finished := i.ready("lab", "finished")

	write(t, definition, current)
	i.helm("upgrade")
	if c := i.container(); c.Image != second || !slices.ContainsFunc(c.Env, func(v corev1.EnvVar) bool { return v.Name == imageEnv && v.Value == second }) {
		t.Errorf("after the upgrade it runs %s, with %v", c.Image, c.Env)
	}
	if out := i.kubectl("get", "crd", "optimizationpipelines.espalier.dev", "-o", "jsonpath={.spec.names.shortNames}"); !strings.Contains(out, "optpipe") {
		t.Errorf("the definition was not upgraded: %s", out)
	}
	stop()
	stop = i.manager()
	i.pipeline("lab", "after")
	i.ready("lab", "after")
	same := func(when string) {
		t.Helper()
		if diff := cmp.Diff(finished.Status, i.get("lab", "finished").Status); diff != "" {
			t.Errorf("the finished pipeline's status %s:\n%s", when, diff)
		}
	}
	same("after the upgrade")
	if log := stop(); strings.Contains(log, "forbidden") {
		t.Errorf("the manager's log:\n%s", log)
	}

	i.helm("uninstall")
	var d appsv1.Deployment
	if err := i.client.Get(t.Context(), client.ObjectKey{Namespace: systemNamespace, Name: managerName}, &d); !apierrors.IsNotFound(err) {
		t.Errorf("the Deployment is still there: %v", err)
	}
	same("after helm uninstall")
	i.helm("install") // takes up what was left
	stop = i.manager()
	i.pipeline("lab", "again")
	i.ready("lab", "again")
	same("after another helm install")
	i.kubectl("delete", "optpipe", "--all", "--all-namespaces", "--cascade=foreground")
	stop()
	i.helm("uninstall")
	i.documented("Helm")
	i.is(before)
}
