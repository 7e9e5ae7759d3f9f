// needs: root ip nsenter unshare sysctl mount docker-registry containerd ctr runc busybox
import { INSTALLED } from '../harness/clients.ts'
import { describeContainerdContent } from './cases/containerd-content.ts'

describeContainerdContent(INSTALLED)
