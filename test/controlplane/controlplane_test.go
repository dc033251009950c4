package controlplane

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
)

func TestJobsMakePodsAndTheServerComesBack(t *testing.T) {
	c := Start(t, Options{ControllerManager: true})
	client, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	job := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: "one"},
		Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "c", Image: "none"}},
		}}},
	}
	if _, err := client.BatchV1().Jobs("default").Create(ctx, job, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the Job's pod", func(ctx context.Context) (bool, error) {
		pods, err := client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{LabelSelector: "job-name=one"})
		return err == nil && len(pods.Items) == 1, nil
	})
	if err := c.StopServer(); err != nil {
		t.Fatal(err)
	}
	if _, err := client.BatchV1().Jobs("default").List(ctx, metav1.ListOptions{}); err == nil {
		t.Error("a stopped server answers")
	}
	if err := c.StartServer(); err != nil {
		t.Fatal(err)
	}
	if jobs, err := client.BatchV1().Jobs("default").List(ctx, metav1.ListOptions{}); err != nil || len(jobs.Items) != 1 {
		t.Errorf("after the server came back: %v, %v", jobs, err)
	}
}

func TestAFolderThatIsNamedHasTheBinaries(t *testing.T) {
	t.Setenv(BinEnv, t.TempDir())
	if _, err := Bin(); err == nil || errors.Is(err, ErrNoBinaries) || !strings.Contains(err.Error(), BinEnv) {
		t.Errorf("error %v would have tests skip, or does not name the variable", err)
	}
}

func eventually(t *testing.T, what string, done wait.ConditionWithContextFunc) {
	t.Helper()
	if err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, time.Minute, true, done); err != nil {
		t.Fatalf("waiting for %s: %v", what, err)
	}
}
