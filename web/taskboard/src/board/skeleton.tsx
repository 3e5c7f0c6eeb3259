/** The frame of a board while it loads: of the same size, so that nothing jumps. */
export function Skeleton() {
  return (
    <div className="board-page" aria-busy="true">
      <p className="sr" role="status">
        The board is being loaded
      </p>
      <div className="board-head" aria-hidden="true">
        <span className="bone title" />
      </div>
      <div className="board" aria-hidden="true">
        {[4, 3, 2].map((cards) => (
          <div key={cards} className="column">
            <div className="column-head">
              <span className="bone" />
            </div>
            <div className="cards">
              {Array.from({ length: cards }, (_, i) => (
                <div key={i} className="card bone" />
              ))}
            </div>
          </div>
        ))}
      </div>
    </div>
  );
}
