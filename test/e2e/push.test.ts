// needs: root ip nsenter unshare sysctl mount docker-registry containerd ctr dockerd docker podman skopeo
import { INSTALLED } from '../harness/clients.ts'
import { describePushes } from './cases/push.ts'

describePushes(INSTALLED)
