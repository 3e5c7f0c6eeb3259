// Package interop holds no code: its tests let Holdfast and the official
// Socket.IO packages for Node talk to each other, both ways round, and drive
// a server that has accounts with the npm package realtimehttpauthclient. They
// need Node 20 and the packages of package-lock.json (npm ci --prefix
// internal/interop).
package interop
