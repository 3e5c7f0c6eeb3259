import { useMemo } from "react";
import { encode } from "uqr";

/** A QR code, drawn here: its secret goes nowhere. Black on white in both themes, as scanners want it. */
export function QRCode({ text, label }: { text: string; label: string }) {
  const { size, path } = useMemo(() => {
    // The quiet zone of four modules is the standard's (ISO/IEC 18004).
    const { data, size } = encode(text, { ecc: "L", border: 4 });
    const rows = data.flatMap((row, y) => row.map((dark, x) => (dark ? `M${x} ${y}h1v1h-1z` : "")));
    return { size, path: rows.join("") };
  }, [text]);
  return (
    <svg className="qr" role="img" aria-label={label} viewBox={`0 0 ${size} ${size}`} shapeRendering="crispEdges">
      <rect width={size} height={size} fill="#fff" />
      <path d={path} fill="#000" />
    </svg>
  );
}
