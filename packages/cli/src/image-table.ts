import type { CheckedImage, HeldBlob, HeldImage } from '@layerswarm/core/api/images-api.ts'
import { formatAge, formatBytes, shortHex } from './format.ts'
import type { Column } from './table.ts'

const SHORT_TYPES: Readonly<Record<string, string>> = {
  'application/vnd.oci.image.index.v1+json': 'index',
  'application/vnd.oci.image.manifest.v1+json': 'manifest',
  'application/vnd.docker.distribution.manifest.list.v2+json': 'docker-list',
  'application/vnd.docker.distribution.manifest.v2+json': 'docker-manifest'
}

/** As `ctr images check` words it. */
function statusOf(image: HeldImage | CheckedImage): string {
  const { state, present, required = '?' } = image
  const corrupt = 'corrupt' in image && image.corrupt > 0 && state !== 'complete' ? `, ${image.corrupt} corrupt` : ''
  return `${state} (${present}/${required}${corrupt})`
}

export const IMAGE_COLUMNS: readonly Column<HeldImage>[] = [
  { title: 'REF', text: ({ image }) => image, cuttable: true },
  { title: 'TYPE', text: ({ mediaType }) => mediaType, short: ({ mediaType }) => SHORT_TYPES[mediaType] ?? 'other', dispensable: 2 },
  { title: 'DIGEST', text: ({ digest }) => digest, short: ({ digest }) => shortHex(digest), dispensable: 1 },
  { title: 'STATUS', text: statusOf },
  { title: 'SIZE', text: sizeText }
]

function sizeText({ held, size, state }: HeldImage): string {
  return state === 'complete' ? formatBytes(size) : `${formatBytes(held)}/${formatBytes(size)}`
}

/** @param now ms since the epoch */
export function blobColumns(now: number): readonly Column<HeldBlob>[] {
  return [
    { title: 'DIGEST', text: ({ digest }) => digest, short: ({ digest }) => shortHex(digest) },
    { title: 'SIZE', text: blobSize },
    { title: 'IN', text: ({ places = ['store'] }) => places.join('+'), dispensable: 1 },
    { title: 'USED', text: ({ usedAt }) => `${formatAge(now - usedAt)} ago` },
    { title: 'SHARED', text: ({ images = [] }) => (images.length > 1 ? `by ${images.length}` : images.length === 1 ? 'no' : 'unused') },
    { title: 'IMAGES', text: ({ images = [] }) => images.join(','), cuttable: true }
  ]
}

function blobSize({ size, present, state }: HeldBlob): string {
  return state === 'complete' ? formatBytes(size) : `${formatBytes(present)}/${formatBytes(size)}`
}
