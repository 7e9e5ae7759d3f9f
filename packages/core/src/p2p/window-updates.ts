import type { yamux } from '@libp2p/yamux'
import { StreamState, type YamuxStream } from '@libp2p/yamux/stream'

export type MuxerFactory = ReturnType<ReturnType<typeof yamux>>

/** What is reached into; the muxer's types keep it private, so its version is pinned and a test counts the frames. */
interface Streams {
  _newStream(...how: unknown[]): YamuxStream
}

interface Windowed {
  readonly state: StreamState
  readonly maxStreamWindowSize: number
  readonly recvWindowCapacity: number
  recvWindow: number
  sendWindowUpdate(): void
}

/**
 * Answers half a window of data with one window update, as the yamux specification has in mind. The muxer itself answers
 * every frame, so that each short message costs a packet in the other direction too, and the window begins at a size that
 * a piece just exceeds: here the whole of it is open from the first frame on.
 */
export function sparingUpdates(factory: MuxerFactory): MuxerFactory {
  const createStreamMuxer = factory.createStreamMuxer.bind(factory)
  factory.createStreamMuxer = (connection) => {
    const muxer = createStreamMuxer(connection)
    const streams = muxer as unknown as Streams
    const newStream = streams._newStream.bind(streams)
    streams._newStream = (...how) => {
      const stream = newStream(...how)
      sparing(stream as unknown as Windowed)
      return stream
    }
    return muxer
  }
  return factory
}

function sparing(stream: Windowed): void {
  const update = stream.sendWindowUpdate.bind(stream)
  stream.sendWindowUpdate = () => {
    if (stream.state === StreamState.Established) {
      if (stream.recvWindow === stream.maxStreamWindowSize && stream.recvWindowCapacity > stream.recvWindow / 2) return
      stream.recvWindow = stream.maxStreamWindowSize
    }
    update()
  }
}
