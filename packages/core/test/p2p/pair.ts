import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { pino } from 'pino'
import type { FramedStream } from '../../src/p2p/framed-stream.ts'
import { newIdentity } from '../../src/p2p/identity.ts'
import { createNode, type NodeEvent, type NodeOptions, type P2pNode } from '../../src/p2p/node.ts'

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

/** The peer of the next event of a type. */
export async function nextEvent(node: P2pNode, type: NodeEvent['type']): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>()
  const stop = node.subscribe((event) => event.type === type && resolve(event.peer))
  const peer = await promise
  stop()
  return peer
}

/** A TCP proxy before `node` whose bytes pass through `tamper`; undefined swallows them. */
export async function proxy(node: P2pNode, tamper: (chunk: Buffer, seen: number) => Buffer | undefined) {
  const sockets = new Set<Socket>()
  const server = createServer((client) => {
    const upstream = connect(node.port ?? 0, '127.0.0.1')
    let seen = 0
    for (const [from, to] of [
      [client, upstream],
      [upstream, client]
    ] as const) {
      sockets.add(from)
      from.on('error', () => to.destroy())
      from.on('close', () => to.destroy())
      from.on('data', (chunk) => {
        seen += chunk.byteLength
        const bytes = tamper(chunk, seen)
        if (bytes !== undefined) to.write(bytes)
      })
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address !== 'object') throw new Error('the proxy does not listen')
  return {
    address: `/ip4/127.0.0.1/tcp/${address.port}`,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    }
  }
}
