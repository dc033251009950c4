# Espalier. `make` lists what there is; `make demo` and `make test` need only Go and make.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
export CGO_ENABLED := 0

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# Google's storage library speaks HTTP here: without its gRPC the binary is a fifth smaller.
TAGS := disable_grpc_modules
LDFLAGS := -s -w -X main.version=$(VERSION)
BUILD := go build -trimpath -tags '$(TAGS)' -ldflags '$(LDFLAGS)'
SOURCE ?= git+https://github.com/espalier-dev/espalier@$(shell git rev-parse HEAD 2>/dev/null || echo unknown)
GOLANGCI_LINT_VERSION := v2.15.0
CONTROLLER_GEN_VERSION := v0.23.0
FUZZTIME ?= 30s
CONFIG ?= config/default
IMAGE ?= ghcr.io/espalier-dev/espalier:$(VERSION)

##@ Use

.PHONY: help
help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: build ## walk a whole deployment tree on a small model and dataset made here, in about a minute
	@./hack/demo.sh

.PHONY: build
build: ## build bin/espalier, one static binary
	@mkdir -p bin
	@$(BUILD) -o bin/espalier ./cmd/espalier

##@ Test

.PHONY: test
test: tools ## run every test that needs no root
	go test -timeout 30m ./...
	cd hack/kubebuilder && go test ./...
	@./hack/skipped.sh

bin/versitygw: hack/tools/go.mod hack/tools/go.sum # the S3 server that tests run
	@mkdir -p bin
	cd hack/tools && GOOS= GOARCH= go build -trimpath -ldflags '-s -w' -o ../../$@ github.com/versity/versitygw/cmd/versitygw

bin/crane: hack/tools/go.mod hack/tools/go.sum # which tests push images with
	@mkdir -p bin
	cd hack/tools && GOOS= GOARCH= go build -trimpath -ldflags '-s -w' -o ../../$@ github.com/google/go-containerregistry/cmd/crane

bin/kueue: hack/kueue/go.mod hack/kueue/go.sum # with bin/kueue.yaml, its installation; about three minutes, once
	@mkdir -p bin
	cd hack/kueue && GOOS= GOARCH= go build -trimpath -ldflags '-s -w' -o ../../$@ sigs.k8s.io/kueue/cmd/kueue
	GOOS= GOARCH= go run ./hack/install "$$(cd hack/kueue && go list -m -f '{{.Dir}}' sigs.k8s.io/kueue)/config/default" $@.yaml

bin/helm: hack/helm/go.mod hack/helm/go.sum # which tests run on the chart
	@mkdir -p bin
	cd hack/helm && GOOS= GOARCH= go build -trimpath -ldflags '-s -w' -o ../../$@ helm.sh/helm/v3/cmd/helm

.PHONY: kueue-test
kueue-test: cluster-tools bin/kueue ## pipelines in a real Kueue's queues: quota, priorities, preemption
	go test -count 1 -run Kueue ./test/kueue ./cmd/espalier

.PHONY: tools
tools: bin/versitygw bin/helm bin/crane ## build the programs that tests run

.PHONY: test-portable
test-portable: ## the numeric packages again without assembly
	go test -tags noasm ./optimizer/...

.PHONY: race
race: ## the concurrent packages under the race detector (needs a C compiler)
	CGO_ENABLED=1 go test -race -tags noasm -short ./internal/... ./optimizer/dataset/... ./optimizer/train/...
	CGO_ENABLED=1 go test -race -run Threads ./optimizer/exec/integer

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME
	@./hack/fuzz.sh $(FUZZTIME)

bin/gremlins: hack/gremlins/go.mod hack/gremlins/go.sum # which knows what to change in code to see whether a test notices
	@mkdir -p bin
	cd hack/gremlins && GOOS= GOARCH= go build -trimpath -ldflags '-s -w' -o ../../$@ github.com/go-gremlins/gremlins/cmd/gremlins

MUTATED := ./optimizer/... ./internal/walk ./internal/artifact ./api/v1alpha1
.PHONY: mutate
mutate: bin/gremlins ## change the code of PKG (default: all that decides) piece by piece, and say which changes no test notices (hours; SAMPLE=60: so many changes of each package)
	@nice -n 10 go run ./hack/mutate -sample $(or $(SAMPLE),0) -timeout $(or $(TIMEOUT),10) -also '$(ALSO)' $(or $(PKG),$(MUTATED))

.PHONY: bench
bench: ## run the Go benchmarks
	go test -run '^$$' -bench . -benchtime 200ms ./optimizer/...

.PHONY: lint
lint: ## vet both architectures and run golangci-lint
	go vet ./...
	GOARCH=arm64 go vet ./...
	go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION) run

##@ Cluster

.PHONY: cluster-tools
cluster-tools: ## build etcd, Kubernetes and containerd from their modules (about 10 minutes, once)
	@./hack/cluster/build.sh

.PHONY: cluster-up
cluster-up: cluster-tools bin/versitygw ## start a real cluster on this machine, with an arm64 node (Linux, root)
	@./hack/cluster/cluster.sh up

.PHONY: cluster-demo
cluster-demo: ## install the operator there and walk the demo's tree with Jobs on arm64
	@./hack/cluster/cluster.sh demo

.PHONY: cluster-down
cluster-down: ## stop the cluster and remove its files
	@./hack/cluster/cluster.sh down

.PHONY: e2e
e2e: cluster-tools bin/versitygw bin/crane ## walk pipelines end to end on a cluster of its own, over S3 and on claims, with faults (Linux, root; 8 minutes)
	ESPALIER_E2E=1 go test -count=1 -timeout 40m -parallel 16 -v ./test/e2e

.PHONY: binaries
binaries: ## build bin/espalier-linux-amd64 and bin/espalier-linux-arm64, as build does
	@mkdir -p bin
	@for arch in amd64 arm64; do GOOS=linux GOARCH=$$arch $(BUILD) -o bin/espalier-linux-$$arch ./cmd/espalier; done

.PHONY: image
image: binaries ## pack the container image for amd64 and arm64: bin/image, bin/espalier.tar, and for docker bin/espalier-linux-*.tar
	go run ./hack/image -o bin/espalier.tar -layout bin/image -docker bin -ref '$(IMAGE)' -source '$(SOURCE)' bin/espalier-linux-amd64 bin/espalier-linux-arm64

##@ As in kubebuilder's projects, on the cluster of the current kubectl context

.PHONY: manifests
manifests: ## make the CRD, the roles and the deep copies again
	go generate ./api/... ./controllers/...

.PHONY: install
install: ## install the CRD alone
	kubectl apply --server-side -k config/crd

.PHONY: uninstall
uninstall: ## remove the CRD, and with it every pipeline
	kubectl delete --ignore-not-found -k config/crd

.PHONY: deploy
deploy: install-manifest ## install the operator with IMAGE
	kubectl apply --server-side -f out/install.yaml

.PHONY: undeploy
undeploy: install-manifest ## remove the operator, the CRD and every pipeline
	kubectl delete --ignore-not-found -f out/install.yaml

.PHONY: run
run: build ## run the manager here, outside the cluster; stages run IMAGE
	bin/espalier manager --image '$(IMAGE)'

.PHONY: docker-build
docker-build: image ## pack the image; needs no Docker

##@ Develop

.PHONY: generate
generate: ## make every generated file again: schema, kernels, deepcopy, CRD, manifests, reference
	./hack/generate-schema.sh
	go generate ./...

.PHONY: scale
scale: build cluster-tools ## walk a thousand pipelines on a real control plane and print what they cost
	go run ./hack/scale -pipelines 1000

.PHONY: install-manifest
install-manifest: ## render config/default with IMAGE into out/install.yaml, one file to apply (CONFIG=config/namespaced: for one namespace)
	go run ./hack/install -image '$(IMAGE)' '$(CONFIG)' out/install.yaml

.PHONY: results
results: build ## measure docs/results.md again (hours; needs the material)
	go run ./hack/results
