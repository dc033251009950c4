package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/client/config"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"espalier.dev/espalier/controllers"
	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/optimizer"
)

// imageEnv names the stages' image where --image does not.
const imageEnv = "ESPALIER_IMAGE"

// leaderElectionID is the Lease that managers compete for.
const leaderElectionID = "manager.espalier.dev"

// managerOptions are the flags of `espalier manager`.
type managerOptions struct {
	kubeconfig  string
	namespaces  []string
	image       string
	byDigest    bool
	allowed     controllers.Policy
	allowedIDs  string
	resources   controllers.Resources
	requests    []string
	limits      []string
	maxInFlight int
	concurrency int
	qps         float32
	burst       int

	leaderElect    bool
	leaseNamespace string
	probeAddress   string
	metricsAddress string
	metricsCerts   string
	metricsOpen    bool
	pprofAddress   string
	verbose        bool
	streams        *ioStreams
}

func newManagerCommand(streams *ioStreams) *cobra.Command {
	o := &managerOptions{streams: streams}
	cmd := &cobra.Command{
		Use:   "manager",
		Short: "Run the operator",
		Long: `Run the operator: walk the OptimizationPipelines of a cluster with one Job a stage. It finds the cluster as kubectl does: by --kubeconfig,
KUBECONFIG, the service account of the pod it runs in, or ~/.kube/config. Logs are JSON, one object a line.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "file that says how to reach the cluster")
	flags.StringSliceVar(&o.namespaces, "namespace", nil, "namespaces to work in (repeatable, or comma-separated); default: all")
	flags.StringVar(&o.image, "image", os.Getenv(imageEnv), "image of the stages' Jobs where a pipeline names none; default: environment variable "+imageEnv)
	flags.BoolVar(&o.byDigest, "image-by-digest", true, "have Jobs run --image by the digest that the manager's own pod runs it by, where that can be told")
	flags.StringSliceVar(&o.allowed.Images, "allowed-images", nil, "images besides --image that pipelines may name (repeatable, or comma-separated); * stands for any run of characters, and secrets are mounted only into images allowed by their whole name")
	flags.StringSliceVar(&o.allowed.PriorityClasses, "allowed-priority-classes", nil, "priority classes that pipelines may name, * as above; default: none")
	flags.StringSliceVar(&o.allowed.ServiceAccounts, "allowed-service-accounts", nil, "service accounts that pipelines may name, * as above; default: the namespace's default account")
	flags.StringSliceVar(&o.allowed.RuntimeClasses, "allowed-runtime-classes", nil, "runtime classes that pipelines may name, * as above; default: none")
	flags.StringVar(&o.allowedIDs, "allowed-ids", fmt.Sprintf("%d-%d", controllers.DefaultIDs.First, controllers.DefaultIDs.Last), "users and groups that pipelines may have their pods run as, the first and the last")
	flags.Int32Var(&o.allowed.MaxPriority, "max-priority", 0, "up to which a pipeline's priority counts; below 0 it always does")
	flags.BoolVar(&o.allowed.SharedStore, "shared-store-reuse", false, "reuse what pipelines of other namespaces have in the same store: whoever may write to it is believed")
	flags.StringSliceVar(&o.requests, "stage-requests", []string{"cpu=500m", "memory=512Mi"}, "what stages request where a pipeline's template does not say (repeatable, or comma-separated); a stage trains with as many threads as its limit of cpu, or else its request")
	flags.StringSliceVar(&o.limits, "stage-limits", []string{"memory=2Gi"}, "limits of stages where a pipeline's template does not say (repeatable, or comma-separated)")
	flags.IntVar(&o.maxInFlight, "max-in-flight", 50, "Jobs in flight at a time in the cluster, those of a queue not counted; 0: no bound")
	flags.IntVar(&o.concurrency, "concurrency", 10, "pipelines looked at side by side")
	flags.Float32Var(&o.qps, "qps", 100, "requests a second to the API server, on average")
	flags.IntVar(&o.burst, "burst", 200, "requests to the API server in a burst")
	flags.BoolVar(&o.leaderElect, "leader-elect", false, "work only as the elected one of several managers")
	flags.StringVar(&o.leaseNamespace, "leader-election-namespace", "", "namespace of the Lease; default: the pod's own")
	flags.StringVar(&o.probeAddress, "health-probe-bind-address", ":8081", "where /healthz and /readyz answer; 0: nowhere")
	flags.StringVar(&o.metricsAddress, "metrics-bind-address", ":8443", "where /metrics answers; 0: nowhere")
	flags.StringVar(&o.metricsCerts, "metrics-cert-dir", "", "folder with tls.crt and tls.key for /metrics; default: a self-signed certificate")
	flags.BoolVar(&o.metricsOpen, "metrics-insecure", false, "serve /metrics over HTTP to anybody, for trying things out")
	flags.StringVar(&o.pprofAddress, "pprof-bind-address", "0", "where /debug/pprof answers anybody, such as localhost:6060; 0: nowhere")
	flags.BoolVar(&o.verbose, "verbose", false, "log more")
	return cmd
}

func (o *managerOptions) run(ctx context.Context) error {
	if err := o.check(); err != nil {
		return fault.As(fault.Spec, err)
	}
	level := slog.LevelInfo
	if o.verbose {
		level = slog.LevelDebug
	}
	logger := logr.FromSlogHandler(slog.NewJSONHandler(o.streams.Err, &slog.HandlerOptions{Level: level}))
	ctrl.SetLogger(logger)
	logger.Info("starting", "version", version, "algorithmVersion", optimizer.AlgorithmVersion, "image", o.image, "namespaces", o.namespaces, "maxInFlight", o.maxInFlight)
	mgr, err := o.manager(ctx, logger)
	if err != nil {
		return err
	}
	return mgr.Start(ctx)
}

// check refuses flags that make no manager.
func (o *managerOptions) check() error {
	var err error
	if o.allowed.IDs, err = controllers.ParseIDRange(o.allowedIDs); err != nil {
		return fmt.Errorf("--allowed-ids %q: %w", o.allowedIDs, err)
	}
	if o.resources, err = controllers.ParseResources(o.requests, o.limits); err != nil {
		return fmt.Errorf("--stage-requests, --stage-limits: %w", err)
	}
	switch {
	case o.image == "":
		return errors.New("which image are the stages to run? set --image or " + imageEnv)
	case o.maxInFlight < 0 || o.concurrency < 1 || o.qps <= 0 || o.burst < 1:
		return errors.New("--max-in-flight must not be below 0, --concurrency and --burst not below 1, --qps above 0")
	case o.metricsOpen && o.metricsCerts != "":
		return errors.New("--metrics-insecure serves without certificates: leave --metrics-cert-dir out")
	}
	return nil
}

// manager sets everything up that runs.
func (o *managerOptions) manager(ctx context.Context, logger logr.Logger) (manager.Manager, error) {
	cluster, err := o.cluster()
	if err != nil {
		return nil, fault.As(fault.Spec, err)
	}
	options, err := o.options(logger)
	if err != nil {
		return nil, err
	}
	mgr, err := ctrl.NewManager(cluster, options)
	if err != nil {
		return nil, fmt.Errorf("set up the manager: %w", err)
	}
	pinned := o.pinned(ctx, mgr.GetAPIReader(), logger)
	if _, err := controllers.New(mgr, controllers.Options{Image: o.image, Pinned: pinned, Policy: o.allowed, Resources: o.resources, MaxInFlight: o.maxInFlight, Concurrency: o.concurrency}); err != nil {
		return nil, fmt.Errorf("set up the controller: %w", err)
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return nil, err
	}
	return mgr, mgr.AddReadyzCheck("ping", healthz.Ping)
}

// kubeletPatience is how long a kubelet may take to say which image the manager's pod runs.
const kubeletPatience = 10 * time.Second

// pinned is the image by its digest, "" where that is not to be, or cannot be told.
func (o *managerOptions) pinned(ctx context.Context, reader client.Reader, logger logr.Logger) string {
	pod := types.NamespacedName{Namespace: os.Getenv("POD_NAMESPACE"), Name: os.Getenv("POD_NAME")}
	if !o.byDigest || strings.Contains(o.image, "@") || pod.Name == "" || pod.Namespace == "" {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, kubeletPatience)
	defer cancel()
	image, err := controllers.PinImage(ctx, reader, pod, o.image)
	if err != nil {
		logger.Info("stages run the image by its name: nodes that have another under it differ; name it by its digest in --image", "image", o.image, "cause", err.Error())
		return ""
	}
	logger.Info("stages run the image by its digest", "image", image)
	return image
}

func (o *managerOptions) cluster() (*rest.Config, error) {
	var cluster *rest.Config
	var err error
	if o.kubeconfig != "" {
		cluster, err = clientcmd.BuildConfigFromFlags("", o.kubeconfig)
	} else {
		cluster, err = ctrlconfig.GetConfig()
	}
	if err != nil {
		return nil, fmt.Errorf("find the cluster: %w: set --kubeconfig", err)
	}
	cluster.QPS, cluster.Burst = o.qps, o.burst
	cluster.UserAgent = "espalier/" + version
	return cluster, nil
}

func (o *managerOptions) options(logger logr.Logger) (ctrl.Options, error) {
	scheme, err := controllers.Scheme()
	if err != nil {
		return ctrl.Options{}, err
	}
	cached, err := controllers.CacheOptions(o.namespaces...)
	if err != nil {
		return ctrl.Options{}, err
	}
	metrics := server.Options{BindAddress: o.metricsAddress}
	if !o.metricsOpen {
		metrics.SecureServing, metrics.FilterProvider, metrics.CertDir = true, scrapers, o.metricsCerts
		metrics.TLSOpts = []func(*tls.Config){func(c *tls.Config) { c.MinVersion = tls.VersionTLS12 }}
	}
	return ctrl.Options{
		Scheme: scheme, Logger: logger, Cache: cached, Metrics: metrics, HealthProbeBindAddress: o.probeAddress, PprofBindAddress: o.pprofAddress,
		LeaderElection: o.leaderElect, LeaderElectionID: leaderElectionID, LeaderElectionNamespace: o.leaseNamespace,
		LeaderElectionReleaseOnCancel: true, // the process ends with the manager
		GracefulShutdownTimeout:       ptr.To(10 * time.Second),
		Controller: config.Controller{
			UsePriorityQueue:   ptr.To(true),
			SkipNameValidation: ptr.To(true), // names are to be unique in a process, but a test has a manager after another
		},
		Client: client.Options{FieldOwner: "espalier"},
	}, nil
}
