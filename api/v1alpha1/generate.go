package v1alpha1

//go:generate go run sigs.k8s.io/controller-tools/cmd/controller-gen@v0.23.0 object:headerFile=../../hack/boilerplate.go.txt crd:maxDescLen=2048 applyconfiguration:headerFile=../../hack/boilerplate.go.txt paths=. output:crd:dir=../../config/crd/bases
//go:generate go run ../../hack/crd ../../config/crd/bases/espalier.dev_optimizationpipelines.yaml crd.yaml ../../config/crd/bases/espalier.dev_optimizationpipelines.yaml
