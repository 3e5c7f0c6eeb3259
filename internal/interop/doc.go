// Package interop holds no code: its tests let Holdfast and the official
// Socket.IO packages for Node talk to each other, both ways round, and drive
// servers with clients that were made by others: the npm packages
// realtimehttpauthclient, hyper-fetch, ws and eventsource, and curl. They need
// Node 20, the packages of package-lock.json (npm ci --prefix
// internal/interop) and curl.
package interop
