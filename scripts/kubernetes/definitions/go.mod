// Where scripts/check-kubernetes takes the definitions of custom resources from. No code of these
// modules is built, so `go mod tidy` would remove them.
module denoised/kubernetes/definitions

go 1.26.0

require (
	github.com/kedacore/keda/v2 v2.18.3
	github.com/prometheus-operator/prometheus-operator v0.85.0
	sigs.k8s.io/gateway-api v1.4.1
)
