{{/* The one name of everything: the release's, with the chart's in it. */}}
{{- define "globaltx.name" -}}
{{- if contains "globaltx" .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-globaltx" .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "globaltx.selector" -}}
app.kubernetes.io/name: globaltx-operator
app.kubernetes.io/instance: {{ .Release.Name }}
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
    values: [{{ .Release.Namespace }}, kube-system]
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
{{- end -}}

{{/* The Secrets that enter the store's etcd, by commas. */}}
{{- define "globaltx.etcdSecrets" -}}
{{- join "," (compact (list .Values.store.etcd.tlsSecretName .Values.store.etcd.credentialsSecretName)) -}}
{{- end -}}
