package controllers

//go:generate go run sigs.k8s.io/controller-tools/cmd/controller-gen@v0.23.0 rbac:roleName=manager paths=. output:rbac:dir=../config/rbac
