"""The chart's own etcd: its certificates, its users, and who enters it by which.

What the chart installs are pods that wait for a Secret. Everything secret is made here, by the operator,
so that none of it is in values, in manifests, or in helm's record of the release.
"""

from globaltx_operator.bundled.keeper import BundledEtcd
from globaltx_operator.bundled.options import BundledOptions

__all__ = ["BundledEtcd", "BundledOptions"]
