#!/usr/bin/env node
// biome-ignore-all lint/style/useNodejsImportProtocol: old Nodes do not know it
'use strict'
// Finds a Node that can run the command, and gives daemons their node flags. Old Nodes must be able to read this file
// in order to say what is missing: no syntax or module format newer than Node 12.

const { spawn } = require('child_process')
const { existsSync, realpathSync } = require('fs')
const path = require('path')
const { pathToFileURL } = require('url')

const LEAST_NODE = [24, 12]
// The sources in a checkout, the bundle where it is installed.
const MAIN = [path.join('src', 'main.ts'), path.join('dist', 'main.js')]
  .map((file) => path.join(__dirname, '..', file))
  .find((file) => existsSync(file))
const DAEMONS = ['agent', 'tracker', 'standalone']

// Buffers off the heap then count as garbage to be collected only when they are much: without this V8 collects every
// 25 MiB that move, up to a third of the CPU. The small young generation halves the memory of a busy receiver. Node
// accepts none of these in NODE_OPTIONS.
const DAEMON_FLAGS = ['--external-memory-accounted-in-global-limit', '--initial-heap-size=64', '--max-semi-space-size=4']
// Large buffers go back to the system when they are freed, instead of leaving holes in a heap that only grows.
const DAEMON_ENV = { MALLOC_ARENA_MAX: '2', MALLOC_MMAP_THRESHOLD_: '262144', MALLOC_TRIM_THRESHOLD_: '1048576' }

const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2']

main(process.argv.slice(2))

function main(args) {
  const current = isRecent(process.versions.node)
  const daemon = DAEMONS.indexOf(args.find((arg) => arg[0] !== '-')) >= 0
  if (current && !daemon) {
    process.argv[1] = MAIN
    import(pathToFileURL(MAIN).href).catch((error) => {
      process.stderr.write(`${error.stack}\n`)
      process.exitCode = 1
    })
    return
  }
  const node = current ? process.execPath : bundledNode(__dirname)
  if (node === undefined) {
    process.stderr.write(
      `error: layerswarm needs Node ${LEAST_NODE.join('.')} or later; this is ${process.version} (${process.execPath}), ` +
        'and the one that npm installs with it is missing\n' +
        `fix: install Node ${LEAST_NODE[0]}, or run npm install again without --omit=optional (npm ci in a checkout)\n`
    )
    process.exitCode = 1
    return
  }
  // Flags given to another Node may not exist in this one.
  const env = Object.assign({}, daemon ? DAEMON_ENV : {}, process.env)
  run(node, (current ? process.execArgv : []).concat(daemon ? DAEMON_FLAGS : [], MAIN, args), env)
}

function isRecent(version) {
  const [major, minor] = version.split('.').map(Number)
  return major > LEAST_NODE[0] || (major === LEAST_NODE[0] && minor >= LEAST_NODE[1])
}

// The Node that npm installed as a package, wherever it put it: beside this package or in a folder above.
function bundledNode(folder) {
  for (const name of [`node-${process.platform}-${process.arch}`, 'node']) {
    const candidate = path.join(folder, 'node_modules', name, 'bin', 'node')
    if (existsSync(candidate)) return realpathSync(candidate)
  }
  const parent = path.dirname(folder)
  return parent === folder ? undefined : bundledNode(parent)
}

function run(node, args, env) {
  // Replacing this process leaves no parent behind: pid and signals are the daemon's own.
  if (process.execve !== undefined) process.execve(node, [node].concat(args), env)

  const child = spawn(node, args, { stdio: 'inherit', env })
  const forward = (signal) => child.kill(signal)
  for (const signal of SIGNALS) process.on(signal, forward)
  child.on('error', (error) => {
    process.stderr.write(`error: ${node} cannot be started: ${error.message}\nfix: run npm install again\n`)
    process.exitCode = 1
  })
  child.on('exit', (code, signal) => {
    for (const name of SIGNALS) process.removeListener(name, forward)
    if (signal === null) process.exitCode = code
    else process.kill(process.pid, signal)
  })
}
