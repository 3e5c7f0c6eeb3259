# make test installs what it needs and runs every check. CONTRIBUTING.md says more.
.DEFAULT_GOAL := build
.PHONY: setup test drill bench peers build serve
GO ?= go

setup:
	@./scripts/setup.sh

test: setup
	@./scripts/gofmt.sh
	@GO="$(GO)" ./scripts/test.sh

drill: setup # FUZZTIME=30s for each fuzz target, HOLDFAST_CHECK=5m of rooms in trouble, HOLDFAST_SOAK=1h of clients that stay, every test five times; the quickstart of docs/browser.md needs the network
	./scripts/fuzz.sh
	HOLDFAST_FLOOD=10000 $(GO) test -run Flood -v ./server
	HOLDFAST_KILLS=100 $(GO) test -run Killed -v ./standalone
	HOLDFAST_WEIGHT=10000 $(GO) test -run Weight -v ./hub ./internal/drill
	HOLDFAST_FLEET=5000 $(GO) test -run Fleet -v ./client
	HOLDFAST_CHECK=$${HOLDFAST_CHECK:-5m} $(GO) test -race -timeout 0 -run TestRooms -v ./internal/drill
	HOLDFAST_LONG=1 $(GO) test -race -timeout 30m -run 'TestL1[67]|TestModel' -v ./tokens
	HOLDFAST_LONG=1 $(GO) test -race -timeout 30m -run 'TestL6[37]' -v ./client/queue ./internal/interop
	cd web && HOLDFAST_LONG=1 npm run --silent browser -- rotation
	cd web && npm run --silent quickstart
	cd web && HOLDFAST_LONG=1 npm run --silent browser -- browser/taskboard
	./scripts/mutants.sh
	HOLDFAST_SOAK=$${HOLDFAST_SOAK:-1h} $(GO) test -timeout 0 -run TestSoak -v ./internal/soak
	HOLDFAST_CHECK= HOLDFAST_SOAK=15s $(GO) test -race -count=5 ./...

bench: setup
	$(GO) test -run '^$$' -bench . -benchmem ./engineio ./socketio ./internal/jsonws ./auth ./hub ./internal/transport ./server ./identity ./client ./tokens/oauth2tokens
	cd web && npm run bench --silent

peers: # our server beside others, in one sitting, then ours as it grows, with too much to do, and restarted: writes bench/RESULTS.md, in half an hour; best on an idle machine
	$(GO) run ./bench
	$(GO) run ./bench -growth
	$(GO) run ./bench -overload
	$(GO) run ./bench -storm

build:
	$(GO) build -o bin/holdfast ./cmd/holdfast

serve:
	$(GO) run ./cmd/holdfast serve --dev
