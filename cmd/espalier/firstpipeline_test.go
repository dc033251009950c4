package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/artifact"
	"espalier.dev/espalier/internal/s3test"
	"espalier.dev/espalier/test/controlplane"
)

// TestTheFirstPipelineAsDocumented types what the chapter of docs/operator.md has, in its order, with a real S3 server behind the address
// that it names and the test as the node and as aws.
func TestTheFirstPipelineAsDocumented(t *testing.T) {
	server := s3test.Start(t, false)
	i := newInstallation(t)
	d := &reader{installation: i, server: server}
	d.commands(t)
	for _, bucket := range []string{"models", "datasets", "compressed"} {
		server.Bucket(bucket)
	}
	root, err := controlplane.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	made := exec.CommandContext(t.Context(), "go", "run", "./hack/demo", "data", "-per-class", "60", "-o", i.folder)
	made.Dir = root
	if out, err := made.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	server.Put("models", "glyphs.tflite", read(t, filepath.Join(root, "hack", "demo", "glyphs.tflite")))
	server.Put("datasets", "glyphs.npz", read(t, filepath.Join(i.folder, "glyphs.npz")))

	i.render("config/default", "registry.example.com/espalier:v1")
	i.documented("Install")
	stop := i.manager()
	node := newKubelet(t.Context(), t, i.client, i.node.claims)
	node.env = []string{"HTTP_PROXY=" + d.network()}

	_, chapter, found := strings.Cut(string(read(t, filepath.Join(root, "docs", "operator.md"))), "\n## The first pipeline\n")
	if !found {
		t.Fatal("operator.md has no chapter on the first pipeline")
	}
	chapter, _, _ = strings.Cut(chapter, "\n## ")
	_, manifest, _ := strings.Cut(chapter, "```yaml\n# glyphs.yaml\n")
	manifest, _, found = strings.Cut(manifest, "```")
	if !found {
		t.Fatal("the chapter has no glyphs.yaml")
	}
	write(t, filepath.Join(i.folder, "glyphs.yaml"), []byte(manifest))
	evaluated := ""
	for line := range strings.Lines(chapter) {
		command, isOne := strings.CutPrefix(line, "$ ")
		switch {
		case !isOne:
		case strings.Contains(command, " -w"):
			d.watch(strings.TrimSpace(command))
		case strings.HasPrefix(command, "aws "):
			d.fetch(command)
		default:
			evaluated = d.run(command)
		}
	}
	p := i.get("lab", "glyphs")
	if p.Status.Selected == nil {
		t.Fatalf("%+v", p.Status)
	}
	for _, m := range p.Status.Selected.Metrics {
		if m.Name == "Accuracy" && !strings.Contains(evaluated, " "+m.Value+" (") {
			t.Errorf("the status says %s is %s, evaluate:\n%s", m.Name, m.Value, evaluated)
		}
	}

	inline := regexp.MustCompile("`(kubectl [^`]+)`").FindAllStringSubmatch(strings.ReplaceAll(chapter, "\n", " "), -1)
	said := ""
	for _, m := range inline {
		said += d.run(m[1])
	}
	if string(read(t, filepath.Join(i.folder, "glyphs.leaf.tflite"))) != string(read(t, filepath.Join(i.folder, "leaf.tflite"))) {
		t.Error("the leaf under its digest is another than the latest")
	}
	for _, want := range []string{"Compressed Bytes", "pqat", "Events:", "patched", "annotated"} {
		if !strings.Contains(strings.ReplaceAll(said, "CompressedBytes", "Compressed Bytes"), want) {
			t.Errorf("nothing of %q in\n%s", want, said)
		}
	}
	eventually(t, "the suspended pipeline to be so", func() bool {
		p = i.get("lab", "glyphs")
		return p.Spec.RunPolicy.Suspend && p.Status.ObservedGeneration == p.Generation
	})
	d.run(strings.Replace(inline[1][1], "true", "false", 1))
	eventually(t, "everything to be reused", func() bool {
		p = i.get("lab", "glyphs")
		return p.Status.Rerun != "" && p.Status.Rerun == p.Annotations[v1alpha1.RerunAnnotation] && meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionReady)
	})
	for _, s := range p.Status.Stages {
		if ran := len(node.of("glyphs", s.Name)); s.Leaf != nil && ran > 1 && !s.Reused {
			t.Errorf("%s ran %d times, and its result was not reused", s.Name, ran)
		}
	}
	stop()
}

// reader is somebody at a terminal.
type reader struct {
	*installation
	server *s3test.Server
	path   string // folders of commands
}

// commands makes a folder with the programs that the documents type.
func (d *reader) commands(t *testing.T) {
	t.Helper()
	d.path = t.TempDir()
	self, err := filepath.Abs(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, script := range map[string]string{
		"espalier": asCommand + "=1 exec '" + self + "' \"$@\"", "kubectl": "exec '" + d.tool + "' \"$@\"", "aws": "echo \"$@\"",
	} {
		if err := os.WriteFile(filepath.Join(d.path, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// command is a line as it is typed, but for the keys of the store, which are the server's.
func (d *reader) command(ctx context.Context, line string) *exec.Cmd {
	line = strings.NewReplacer("AWS_ACCESS_KEY_ID=espalier", "AWS_ACCESS_KEY_ID="+s3test.AccessKey, "AWS_SECRET_ACCESS_KEY=espalier-secret", "AWS_SECRET_ACCESS_KEY="+s3test.SecretKey).Replace(line)
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	cmd.Dir, cmd.Env = d.folder, append(os.Environ(), "KUBECONFIG="+d.plane.Kubeconfig, "PATH="+d.path+":"+os.Getenv("PATH"))
	return cmd
}

func (d *reader) run(line string) string {
	d.t.Helper()
	out, err := d.command(d.t.Context(), line).CombinedOutput()
	if err != nil {
		d.t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}

// watch has a command run until it shows that the pipeline is ready.
func (d *reader) watch(line string) {
	d.t.Helper()
	ctx, cancel := context.WithCancel(d.t.Context())
	defer cancel()
	cmd, seen := d.command(ctx, "exec "+line), &lockedBuffer{}
	cmd.Stdout, cmd.Stderr = seen, seen
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	eventually(d.t, "the pipeline to be ready", func() bool { return strings.Contains(seen.String(), "ConstraintsMet") })
	cancel()
	_ = cmd.Wait() // it was killed
	if !regexp.MustCompile(`glyphs +[12]/2 +\w+ .* 0[.]\d+ +\d+ +True +ConstraintsMet`).MatchString(seen.String()) {
		d.t.Errorf("%s showed\n%s", line, seen)
	}
}

// fetch types a command of aws, and copies the object that it names as aws would: here it only says what it was asked for.
func (d *reader) fetch(line string) {
	d.t.Helper()
	asked := strings.Fields(d.run(line))
	if len(asked) != 6 || asked[0] != "--endpoint-url" || asked[2] != "s3" || asked[3] != "cp" {
		d.t.Fatalf("what does %q do?", line)
	}
	object, err := artifact.Fetch(d.t.Context(), asked[4], artifact.Options{CredentialsDir: d.server.CredentialsDir,
		S3: artifact.S3Options{Endpoint: d.server.Endpoint, Region: s3test.Region, PathStyle: true}}, artifact.Cache{Dir: d.t.TempDir()})
	if err != nil {
		d.t.Fatal(err)
	}
	to := asked[5]
	if to == "." {
		to = filepath.Base(asked[4])
	}
	write(d.t, filepath.Join(d.folder, to), read(d.t, object.Path))
}

// network is a proxy by which whatever is asked for is the S3 server's.
func (d *reader) network() string {
	d.t.Helper()
	to, err := url.Parse(d.server.Endpoint)
	if err != nil {
		d.t.Fatal(err)
	}
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = to.Scheme, to.Host, r.In.Host
	}, Transport: &http.Transport{}})
	d.t.Cleanup(proxy.Close)
	return proxy.URL
}
