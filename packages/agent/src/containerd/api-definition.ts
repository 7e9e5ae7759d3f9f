/**
 * The part of containerd's gRPC API that is used here: names and numbers of the messages' fields, as in the .proto files
 * of https://github.com/containerd/containerd/tree/main/api (services/content/v1, images/v1, namespaces/v1, events/v1,
 * introspection/v1, leases/v1; types/descriptor.proto). Fields that nobody reads here are left out, which the protocol
 * allows. It is data rather than files, so that a bundle carries it.
 */

/** A type, a field number; a rule or a key type for lists and maps. */
type Field = readonly [type: string, id: number, kind?: 'repeated' | 'map']

function message(fields: Readonly<Record<string, Field>>) {
  return {
    fields: Object.fromEntries(
      Object.entries(fields).map(([name, [type, id, kind]]) => [
        name,
        { type, id, ...(kind === 'repeated' && { rule: 'repeated' }), ...(kind === 'map' && { keyType: 'string' }) }
      ])
    )
  }
}

function service(methods: Readonly<Record<string, readonly [request: string, response: string, stream?: 'out' | 'both']>>) {
  return {
    methods: Object.fromEntries(
      Object.entries(methods).map(([name, [requestType, responseType, stream]]) => [
        name,
        { requestType, responseType, ...(stream === 'both' && { requestStream: true }), ...(stream && { responseStream: true }) }
      ])
    )
  }
}

const EMPTY = '.google.protobuf.Empty'
const DESCRIPTOR = '.containerd.types.Descriptor'

const content = {
  Info: message({ digest: ['string', 1], size: ['int64', 2], labels: ['string', 5, 'map'] }),
  ListContentRequest: message({ filters: ['string', 1, 'repeated'] }),
  ListContentResponse: message({ info: ['Info', 1, 'repeated'] }),
  UpdateRequest: message({ info: ['Info', 1], update_mask: ['.google.protobuf.FieldMask', 2] }),
  UpdateResponse: message({ info: ['Info', 1] }),
  WriteAction: { values: { STAT: 0, WRITE: 1, COMMIT: 2 } },
  WriteContentRequest: message({
    action: ['WriteAction', 1],
    ref: ['string', 2],
    total: ['int64', 3],
    expected: ['string', 4],
    offset: ['int64', 5],
    data: ['bytes', 6],
    labels: ['string', 7, 'map']
  }),
  WriteContentResponse: message({ action: ['WriteAction', 1], offset: ['int64', 4], digest: ['string', 6] }),
  Content: service({
    List: ['ListContentRequest', 'ListContentResponse', 'out'],
    Update: ['UpdateRequest', 'UpdateResponse'],
    Write: ['WriteContentRequest', 'WriteContentResponse', 'both']
  })
}

const images = {
  Image: message({ name: ['string', 1], labels: ['string', 2, 'map'], target: [DESCRIPTOR, 3] }),
  ListImagesRequest: message({ filters: ['string', 1, 'repeated'] }),
  ListImagesResponse: message({ images: ['Image', 1, 'repeated'] }),
  CreateImageRequest: message({ image: ['Image', 1] }),
  CreateImageResponse: message({ image: ['Image', 1] }),
  UpdateImageRequest: message({ image: ['Image', 1], update_mask: ['.google.protobuf.FieldMask', 2] }),
  UpdateImageResponse: message({ image: ['Image', 1] }),
  Images: service({
    List: ['ListImagesRequest', 'ListImagesResponse'],
    Create: ['CreateImageRequest', 'CreateImageResponse'],
    Update: ['UpdateImageRequest', 'UpdateImageResponse']
  })
}

const namespaces = {
  Namespace: message({ name: ['string', 1] }),
  ListNamespacesRequest: message({ filter: ['string', 1] }),
  ListNamespacesResponse: message({ namespaces: ['Namespace', 1, 'repeated'] }),
  Namespaces: service({ List: ['ListNamespacesRequest', 'ListNamespacesResponse'] })
}

const events = {
  SubscribeRequest: message({ filters: ['string', 1, 'repeated'] }),
  Envelope: message({ namespace: ['string', 2], topic: ['string', 3] }),
  Events: service({ Subscribe: ['SubscribeRequest', 'Envelope', 'out'] })
}

const introspection = {
  Plugin: message({ type: ['string', 1], id: ['string', 2], exports: ['string', 5, 'map'] }),
  PluginsRequest: message({ filters: ['string', 1, 'repeated'] }),
  PluginsResponse: message({ plugins: ['Plugin', 1, 'repeated'] }),
  Introspection: service({ Plugins: ['PluginsRequest', 'PluginsResponse'] })
}

const leases = {
  Lease: message({ id: ['string', 1] }),
  CreateRequest: message({ id: ['string', 1], labels: ['string', 3, 'map'] }),
  CreateResponse: message({ lease: ['Lease', 1] }),
  DeleteRequest: message({ id: ['string', 1], sync: ['bool', 2] }),
  Leases: service({ Create: ['CreateRequest', 'CreateResponse'], Delete: ['DeleteRequest', EMPTY] })
}

function nested(entries: Readonly<Record<string, object>>) {
  return { nested: entries }
}

/** What protobufjs reads as one set of .proto files. */
export const API = nested({
  google: nested({ protobuf: nested({ Empty: message({}), FieldMask: message({ paths: ['string', 1, 'repeated'] }) }) }),
  containerd: nested({
    types: nested({
      Descriptor: message({ media_type: ['string', 1], digest: ['string', 2], size: ['int64', 3] })
    }),
    services: nested({
      content: nested({ v1: nested(content) }),
      images: nested({ v1: nested(images) }),
      namespaces: nested({ v1: nested(namespaces) }),
      events: nested({ v1: nested(events) }),
      introspection: nested({ v1: nested(introspection) }),
      leases: nested({ v1: nested(leases) })
    })
  })
})
