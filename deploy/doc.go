// Package deploy holds what an installation of several replicas is made of: alerts and a dashboard, a compose file,
// manifests for Kubernetes, the image, a systemd unit. There is no code in it but the tests that hold these files to the
// program and to the tools that will read them, as far as that goes without a container engine.
package deploy
