// needs: root ip tc nsenter unshare sysctl mount docker-registry new-clients nginx openssl
import { NEWEST } from '../harness/clients.ts'
import { describeMirrorInstall } from './cases/mirror-install.ts'

describeMirrorInstall(NEWEST)
