// needs: root ip nsenter unshare sysctl mount docker-registry new-clients nginx openssl
import { NEWEST } from '../harness/clients.ts'
import { describePulls } from './cases/pulls.ts'

describePulls(NEWEST)
