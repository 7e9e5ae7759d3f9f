// needs: root ip nsenter unshare sysctl mount docker-registry new-clients busybox
import { NEWEST } from '../harness/clients.ts'
import { describeContainerdContent } from './cases/containerd-content.ts'

describeContainerdContent(NEWEST)
