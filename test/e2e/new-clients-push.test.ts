// needs: root ip nsenter unshare sysctl mount docker-registry new-clients
import { NEWEST } from '../harness/clients.ts'
import { describePushes } from './cases/push.ts'

describePushes(NEWEST)
