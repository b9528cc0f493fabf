// Binary breakglass-controlplane is the stock kube-apiserver, kube-controller-manager and etcd in one file.
//
// The first argument names the component, the rest is its command line. Each component is started exactly as its own main package starts it
// (k8s.io/kubernetes/cmd/kube-apiserver, k8s.io/kubernetes/cmd/kube-controller-manager, go.etcd.io/etcd/server/v3).
package main

import (
	"fmt"
	"os"
	_ "time/tzdata" // time zones of CronJobs, as in both Kubernetes commands

	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

func main() {
	if len(os.Args) < 2 {
		usage()
	}
	component := os.Args[1]
	os.Args = append([]string{component}, os.Args[2:]...)
	switch component {
	case "kube-apiserver":
		os.Exit(cli.Run(apiserver.NewAPIServerCommand()))
	case "kube-controller-manager":
		os.Exit(cli.Run(controllermanager.NewControllerManagerCommand()))
	case "etcd":
		etcdmain.Main(os.Args)
	default:
		usage()
	}
}

func usage() {
	fmt.Fprintf(os.Stderr, "usage: %s kube-apiserver|kube-controller-manager|etcd [argument...]\n", os.Args[0])
	os.Exit(2)
}
