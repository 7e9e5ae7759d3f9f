// needs: root ip tc nsenter unshare sysctl mount docker-registry containerd ctr runc dockerd docker podman skopeo nginx openssl
import { INSTALLED } from '../harness/clients.ts'
import { describeMirrorInstall } from './cases/mirror-install.ts'

describeMirrorInstall(INSTALLED)
