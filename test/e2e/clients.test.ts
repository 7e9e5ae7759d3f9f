// needs: root ip nsenter unshare sysctl mount docker-registry containerd ctr runc dockerd docker podman skopeo nginx openssl
import { INSTALLED } from '../harness/clients.ts'
import { describePulls } from './cases/pulls.ts'

describePulls(INSTALLED)
