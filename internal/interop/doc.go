// Package interop holds no code: its tests let Holdfast and the official
// Socket.IO packages for Node talk to each other, both ways round. They need
// Node 20 and the packages of package-lock.json (npm ci --prefix internal/interop).
package interop
