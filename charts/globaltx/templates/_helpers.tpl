{{/* The one name of everything: the release's, with the chart's in it. A release may be called 1.2; a Service may not. */}}
{{- define "globaltx.name" -}}
{{- $name := .Release.Name | replace "." "-" -}}
{{- if not (regexMatch "^[a-z]" $name) -}}
{{- $name = printf "globaltx-%s" $name -}}
{{- else if not (contains "globaltx" $name) -}}
{{- $name = printf "%s-globaltx" $name -}}
{{- end -}}
{{- $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "globaltx.selector" -}}
app.kubernetes.io/name: globaltx-operator
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "globaltx.labels" -}}
{{ include "globaltx.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: globaltx
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "globaltx.image.operator" -}}
{{- .Values.image.operator | default (printf "globaltx/operator:%s" .Chart.AppVersion) -}}
{{- end -}}

{{- define "globaltx.image.sidecar" -}}
{{- .Values.image.sidecar | default (printf "globaltx/sidecar:%s" .Chart.AppVersion) -}}
{{- end -}}

{{/* The namespaces whose pods and policies the webhooks see. */}}
{{- define "globaltx.namespaceSelector" -}}
matchExpressions:
  - key: kubernetes.io/metadata.name
    operator: NotIn
    values: [{{ .Release.Namespace | quote }}, kube-system]
  {{- with .Values.watchNamespaces }}
  - key: kubernetes.io/metadata.name
    operator: In
    values: {{ toJson . }}
  {{- end }}
{{- end -}}

{{/* What the operator may do in a namespace that it serves. */}}
{{- define "globaltx.operatorRules" -}}
- apiGroups: [globaltx.io]
  resources: [globaltransactions, branches]
  verbs: [get, list, watch, patch, delete{{ if eq .Values.store.type "etcd" }}, create{{ end }}]
{{- if ne .Values.store.type "etcd" }}
# An outcome that somebody wants to be told becomes a branch, which the initiator's sidecars carry out.
- apiGroups: [globaltx.io]
  resources: [branches]
  verbs: [create]
{{- end }}
- apiGroups: [globaltx.io]
  resources: [globaltransactions/status, branches/status, transactionpolicies/status]
  verbs: [get, patch]
- apiGroups: [globaltx.io]
  resources: [globaltransactions/finalizers]
  verbs: [update]
- apiGroups: [globaltx.io]
  resources: [transactionpolicies]
  verbs: [get, list, watch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
# The webhook gives each injected pod's ServiceAccount this one role, and can give no other.
- apiGroups: [rbac.authorization.k8s.io]
  resources: [rolebindings]
  verbs: [get, create]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [clusterroles]
  resourceNames: [globaltx-sidecar]
  verbs: [bind]
{{- if .Values.rbac.checkSecrets }}
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
{{- end }}
{{- if include "globaltx.bundled" . }}
# What sidecars enter the chart's etcd by. The right to create cannot be given for one name only, so a
# ValidatingAdmissionPolicy refuses the operator all others.
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [globaltx-etcd]
  verbs: [get, list, update]
{{- end }}
{{- end -}}

{{/* Whether the store is an etcd of the chart's own: "true" or nothing. */}}
{{- define "globaltx.bundled" -}}
{{- if and (eq .Values.store.type "etcd") .Values.store.etcd.bundled.enabled -}}true{{- end -}}
{{- end -}}

{{/* What the chart's own etcd is called: StatefulSet, Service, and what its Secrets begin with. */}}
{{- define "globaltx.etcd" -}}
{{ include "globaltx.name" . }}-etcd
{{- end -}}

{{- define "globaltx.etcdSelector" -}}
app.kubernetes.io/name: globaltx-etcd
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "globaltx.etcdLabels" -}}
{{ include "globaltx.etcdSelector" . }}
app.kubernetes.io/part-of: globaltx
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* One member's name in the cluster's DNS: (list root number). */}}
{{- define "globaltx.etcdHost" -}}
{{- $root := first . -}}
{{- $etcd := include "globaltx.etcd" $root -}}
{{- printf "%s-%d.%s.%s.svc" $etcd (int (last .)) $etcd $root.Release.Namespace -}}
{{- end -}}

{{/* Where the store's etcd is, by commas. */}}
{{- define "globaltx.etcdEndpoints" -}}
{{- $endpoints := .Values.store.etcd.endpoints -}}
{{- if include "globaltx.bundled" . -}}
{{- $endpoints = list -}}
{{- range until (int .Values.store.etcd.bundled.replicas) -}}
{{- $endpoints = append $endpoints (printf "https://%s:2379" (include "globaltx.etcdHost" (list $ .))) -}}
{{- end -}}
{{- end -}}
{{- join "," $endpoints -}}
{{- end -}}

{{/* The Secrets that enter the store's etcd, by commas. */}}
{{- define "globaltx.etcdSecrets" -}}
{{- if include "globaltx.bundled" . -}}
globaltx-etcd
{{- else -}}
{{- join "," (compact (list .Values.store.etcd.tlsSecretName .Values.store.etcd.credentialsSecretName)) -}}
{{- end -}}
{{- end -}}

{{/* The Secrets of the operator's own namespace that it writes. */}}
{{- define "globaltx.ownSecrets" -}}
{{- $names := list (printf "%s-webhook-certificate" (include "globaltx.name" .)) -}}
{{- if include "globaltx.bundled" . -}}
{{- range list "authorities" "root" "server" -}}
{{- $names = append $names (printf "%s-%s" (include "globaltx.etcd" $) .) -}}
{{- end -}}
{{- end -}}
{{- toJson $names -}}
{{- end -}}
