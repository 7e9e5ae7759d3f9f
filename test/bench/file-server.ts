/** The least that a Node process can do to serve a file over HTTP: `file-server.ts PORT FILE`. */
import { createReadStream, statSync } from 'node:fs'
import { createServer } from 'node:http'

const [port, file = ''] = process.argv.slice(2)
const size = statSync(file).size

createServer((_request, response) => {
  response.writeHead(200, { 'content-length': size })
  createReadStream(file, { highWaterMark: 256 * 1024 }).pipe(response)
}).listen(Number(port), '127.0.0.1')
