// Package controlplane starts a real Kubernetes control plane for tests: etcd and kube-apiserver and, where Jobs are to be worked on,
// kube-controller-manager. There are no nodes: a test writes what a kubelet would.
package controlplane

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// BinEnv is the environment variable that names the folder with the binaries.
const BinEnv = "ESPALIER_CLUSTER_BIN"

// ErrNoBinaries says that there are no binaries to start, and that nobody said there were: tests skip. A folder that BinEnv names and that
// lacks them is an error, so that where tests are meant to run none is left out unseen.
var ErrNoBinaries = errors.New("no etcd, kube-apiserver and kube-controller-manager: run `make cluster-tools`, or set " + BinEnv)

// Options say what to start.
type Options struct {
	// ControllerManager adds kube-controller-manager: Jobs make pods, owners' deletion is followed by their dependents'.
	ControllerManager bool
	// Arguments are further arguments of kube-apiserver, by name without dashes.
	Arguments map[string]string
}

// ControlPlane is a running one.
type ControlPlane struct {
	// Config is an administrator's.
	Config *rest.Config
	// Kubeconfig is the same as a file.
	Kubeconfig string

	environment *envtest.Environment
	folder      string
	manager     *exec.Cmd
}

// Bin returns the folder with the binaries: BinEnv, or where `make cluster-tools` puts them.
func Bin() (string, error) {
	folder := os.Getenv(BinEnv)
	named := folder != ""
	if !named {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		folder = filepath.Join(cache, "espalier", "cluster", "bin")
	}
	for _, name := range []string{"etcd", "kube-apiserver", "kube-controller-manager"} {
		_, err := exec.LookPath(filepath.Join(folder, name))
		switch {
		case err != nil && named:
			return "", fmt.Errorf("%s: %w: run `make cluster-tools`", BinEnv, err)
		case err != nil:
			return "", ErrNoBinaries
		}
	}
	return folder, nil
}

// Start starts a control plane that ends with the test; without binaries the test is skipped.
func Start(t testing.TB, o Options) *ControlPlane {
	t.Helper()
	c, err := New(o)
	if errors.Is(err, ErrNoBinaries) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// New starts a control plane with the project's CRD. The caller stops it.
func New(o Options) (*ControlPlane, error) {
	bin, err := Bin()
	if err != nil {
		return nil, err
	}
	root, err := ModuleRoot()
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "espalier-controlplane-*")
	if err != nil {
		return nil, err
	}
	c := &ControlPlane{folder: folder, Kubeconfig: filepath.Join(folder, "kubeconfig"), environment: &envtest.Environment{
		BinaryAssetsDirectory: bin, CRDDirectoryPaths: []string{filepath.Join(root, "config", "crd", "bases")}, ErrorIfCRDPathMissing: true,
		ControlPlaneStartTimeout: 2 * time.Minute, ControlPlaneStopTimeout: time.Minute,
	}}
	server := c.environment.ControlPlane.GetAPIServer()
	server.CertDir = filepath.Join(folder, "apiserver")
	if err := os.Mkdir(server.CertDir, 0o700); err != nil {
		return nil, err
	}
	server.Configure().Set("request-timeout", "5s") // what a stopping server waits for open watches
	for name, value := range o.Arguments {
		server.Configure().Set(name, value)
	}
	if err := c.start(o, bin); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

func (c *ControlPlane) start(o Options, bin string) error {
	var err error
	if c.Config, err = c.environment.Start(); err != nil {
		return fmt.Errorf("control plane: %w", err)
	}
	c.Config.QPS, c.Config.Burst = 1000, 2000
	if err := os.WriteFile(c.Kubeconfig, c.environment.KubeConfig, 0o600); err != nil {
		return err
	}
	if !o.ControllerManager {
		return nil
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(c.folder, "kube-controller-manager.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	c.manager = exec.Command(filepath.Join(bin, "kube-controller-manager"),
		"--kubeconfig="+c.Kubeconfig, "--leader-elect=false", "--bind-address=127.0.0.1", "--secure-port="+strconv.Itoa(port), "--cert-dir="+c.folder,
		"--flex-volume-plugin-dir="+filepath.Join(c.folder, "volumeplugins"), "--kube-api-qps=500", "--kube-api-burst=1000",
		// Pods are bound to nodes that tests play and that are not there: this controller would take such a pod for an orphan and delete it, 40 s
		// after it first saw the node's name, in whichever test that name is then in use.
		"--controllers=*,-pod-garbage-collector-controller",
		"--concurrent-gc-syncs=20", "--service-account-private-key-file="+filepath.Join(c.folder, "apiserver", "sa-signer.key"))
	c.manager.Stdout, c.manager.Stderr = log, log
	return c.manager.Start()
}

// StopServer stops kube-apiserver and keeps its data and address: clients find nobody there.
func (c *ControlPlane) StopServer() error { return c.environment.ControlPlane.GetAPIServer().Stop() }

// StartServer starts kube-apiserver again.
func (c *ControlPlane) StartServer() error { return c.environment.ControlPlane.GetAPIServer().Start() }

// Stop ends everything and removes its data.
func (c *ControlPlane) Stop() error {
	var failed []error
	if c.manager != nil && c.manager.Process != nil {
		failed = append(failed, c.manager.Process.Signal(syscall.SIGTERM))
		done := time.AfterFunc(20*time.Second, func() { _ = c.manager.Process.Kill() })
		_ = c.manager.Wait() // ended by a signal
		done.Stop()
	}
	failed = append(failed, c.environment.Stop())
	return errors.Join(append(failed, os.RemoveAll(c.folder))...)
}

// ModuleRoot is the folder of go.mod above the working directory.
func ModuleRoot() (string, error) {
	folder, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; folder != filepath.Dir(folder); folder = filepath.Dir(folder) {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder, nil
		}
	}
	return "", errors.New("no go.mod above the working directory")
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}
