import { pino } from 'pino'
import type { FramedStream } from '../../src/p2p/framed-stream.ts'
import { newIdentity } from '../../src/p2p/identity.ts'
import { createNode, type NodeOptions, type P2pNode } from '../../src/p2p/node.ts'

const quiet = pino({ level: 'silent' })

/** A node of its own identity that listens on loopback. */
export async function loopbackNode(options: Partial<NodeOptions> = {}): Promise<P2pNode> {
  return await createNode(
    { identity: await newIdentity(), version: '0.0.0-test', listen: { host: '127.0.0.1', port: 0 }, ...options },
    { log: quiet }
  )
}

/** Two connected nodes; `b` made the connection. */
export async function connectedPair(options: Partial<NodeOptions> = {}): Promise<AsyncDisposable & { a: P2pNode; b: P2pNode }> {
  const a = await loopbackNode(options)
  const b = await loopbackNode(options)
  await b.connect(a.addresses, { peer: a.id })
  return { a, b, [Symbol.asyncDispose]: async () => void (await Promise.all([a[Symbol.asyncDispose](), b[Symbol.asyncDispose]()])) }
}

/** Both ends of a new stream from `b` to `a`, not started. */
export async function streamPair(
  nodes: { a: P2pNode; b: P2pNode },
  protocol = '/test/1',
  maxMessage = 4096
): Promise<{ opener: FramedStream; holder: FramedStream }> {
  const { promise, resolve } = Promise.withResolvers<FramedStream>()
  await nodes.a.handle(protocol, { maxMessage }, resolve)
  const opener = await nodes.b.open(nodes.a.id, protocol, { maxMessage })
  const holder = await promise
  await nodes.a.unhandle(protocol)
  return { opener, holder }
}
