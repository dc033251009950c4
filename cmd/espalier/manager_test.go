package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/test/controlplane"
)

func TestManagerRefusesFlagsThatMakeNone(t *testing.T) {
	t.Setenv(imageEnv, "")
	tests := map[string]struct {
		args []string
		want string
	}{
		"no image":                    {nil, imageEnv},
		"no concurrency":              {[]string{"--image=x", "--concurrency=0"}, "--concurrency"},
		"open and with certificates":  {[]string{"--image=x", "--metrics-insecure", "--metrics-cert-dir=/x"}, "--metrics-cert-dir"},
		"a cluster that is not there": {[]string{"--image=x", "--kubeconfig=/nowhere"}, "set --kubeconfig"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			streams := &ioStreams{Out: io.Discard, Err: io.Discard}
			cmd := newRootCommand(streams)
			cmd.SetArgs(append([]string{"manager"}, tt.args...))
			err := cmd.ExecuteContext(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.want) || fault.ClassOf(err) != fault.Spec {
				t.Errorf("error %v of class %d, want one of the command line that names %s", err, fault.ClassOf(err), tt.want)
			}
		})
	}
}

func TestManagerAnswersProbesAndShowsMetricsToThoseWhoMay(t *testing.T) {
	plane := controlplane.Start(t, controlplane.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	var logs bytes.Buffer
	cmd := newRootCommand(&ioStreams{Out: io.Discard, Err: &logs})
	probes, metrics := freeAddress(t), freeAddress(t)
	cmd.SetArgs([]string{"manager", "--image=x", "--kubeconfig=" + plane.Kubeconfig, "--leader-elect", "--leader-election-namespace=default",
		"--health-probe-bind-address=" + probes, "--metrics-bind-address=" + metrics})
	done := make(chan error, 1)
	go func() {
		err := cmd.ExecuteContext(ctx)
		if ctx.Err() == nil { // nobody would answer
			t.Errorf("the manager ended: %v", err)
			cancel()
		}
		done <- err
	}()

	for _, path := range []string{"/healthz", "/readyz"} {
		if code, _ := get(ctx, t, "http://"+probes+path, ""); code != http.StatusOK {
			t.Errorf("%s answers %d", path, code)
		}
	}
	if code, _ := get(ctx, t, "https://"+metrics+"/metrics", ""); code != http.StatusUnauthorized {
		t.Errorf("/metrics answers %d to somebody unknown", code)
	}
	if code, _ := get(ctx, t, "https://"+metrics+"/metrics", "garbage"); code != http.StatusUnauthorized {
		t.Errorf("/metrics answers %d to a token that is none", code)
	}
	client, err := kubernetes.NewForConfig(plane.Config)
	if err != nil {
		t.Fatal(err)
	}
	stranger, reader := account(t, client, "stranger", false), account(t, client, "reader", true)
	if code, _ := get(ctx, t, "https://"+metrics+"/metrics", stranger); code != http.StatusForbidden {
		t.Errorf("/metrics answers %d to somebody who may not", code)
	}
	code, body := get(ctx, t, "https://"+metrics+"/metrics", reader)
	if code != http.StatusOK || !strings.Contains(body, "espalier_jobs_in_flight 0") || !strings.Contains(body, "rest_client_requests_total") {
		t.Errorf("/metrics answers %d: %.300s", code, body)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		lease, err := client.CoordinationV1().Leases("default").Get(ctx, leaderElectionID, metav1.GetOptions{})
		if err == nil && lease.Spec.HolderIdentity != nil && *lease.Spec.HolderIdentity != "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("nobody was elected: %v", err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
	lease, err := client.CoordinationV1().Leases("default").Get(t.Context(), leaderElectionID, metav1.GetOptions{})
	if err != nil || *lease.Spec.HolderIdentity != "" {
		t.Errorf("the Lease was not released: %v, %v", lease, err)
	}
	if line, _, _ := strings.Cut(logs.String(), "\n"); !strings.HasPrefix(line, `{"time":`) {
		t.Errorf("the log is no JSON: %s", line)
	}
}

// account makes a service account and returns a token of it.
func account(t *testing.T, client kubernetes.Interface, name string, mayRead bool) string {
	t.Helper()
	ctx := t.Context()
	if _, err := client.CoreV1().ServiceAccounts("default").Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if mayRead {
		role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{{NonResourceURLs: []string{"/metrics"}, Verbs: []string{"get"}}}}
		if _, err := client.RbacV1().ClusterRoles().Create(ctx, role, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name},
			RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
			Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "default", Name: name}}}
		if _, err := client.RbacV1().ClusterRoleBindings().Create(ctx, binding, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		awaitReader(t, client, name)
	}
	token, err := client.CoreV1().ServiceAccounts("default").CreateToken(ctx, name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return token.Status.Token
}

// awaitReader waits until the API server has seen that an account may read metrics: it answers by what it watches, and a refusal is kept.
func awaitReader(t *testing.T, client kubernetes.Interface, name string) {
	t.Helper()
	eventually(t, name+" may read metrics", func() bool {
		review, err := client.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User: "system:serviceaccount:default:" + name, NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: "/metrics", Verb: "get"},
		}}, metav1.CreateOptions{})
		return err == nil && review.Status.Allowed
	})
}

// get asks until somebody answers or ctx ends.
func get(ctx context.Context, t *testing.T, url, token string) (code int, body string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			request.Header.Set("Authorization", "Bearer "+token)
		}
		response, err := client.Do(request)
		if err == nil {
			defer response.Body.Close()
			data, err := io.ReadAll(response.Body)
			if err != nil {
				t.Fatal(err)
			}
			return response.StatusCode, string(data)
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// freeAddress is an address that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
